/** PostgreSQL takes neither NUL nor half a surrogate pair. */
export const storableText = (text: string, most: number) => text.slice(0, most).toWellFormed().replaceAll("\0", "")

// As JSON.stringify writes them: an odd number of backslashes before the u.
const refused = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/u

/** Whether a jsonb can hold it. */
export const isStorableJson = (value: unknown) => !refused.test(JSON.stringify(value) ?? "")
