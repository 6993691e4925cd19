import { type Token, Tokenizer, TokenizerMode } from "parse5"
import { Problem } from "#platform/http/problems.ts"
import { fileName, unseen } from "./document.ts"

export class LinkUnreachable extends Problem<LinkUnreachable>()("LinkUnreachable", {
  code: "link-unreachable",
  status: 422,
  title: "The address could not be read",
  help: "Nothing answered there in time, or with an error, or the address is not a public one. Check it in a browser; capture false keeps it unread."
}) {}

export class UnsupportedLinkContent extends Problem<UnsupportedLinkContent>()("UnsupportedLinkContent", {
  code: "unsupported-link-content",
  status: 422,
  title: "At this address is neither a page, nor a PDF, nor an image",
  help: "Pages are kept as links, PDFs and images as files. capture false keeps the address unread."
}) {}

/** What a page says of itself. Addresses are absolute. */
export interface PageFacts {
  readonly title: string | null
  /** Where its picture may be, best first. */
  readonly images: ReadonlyArray<string>
  /** Where the icon of its site may be, the largest first. */
  readonly icons: ReadonlyArray<string>
  /** The first frame that shows a PDF. */
  readonly pdfFrame: string | null
}

interface Tag {
  readonly name: string
  readonly attributes: ReadonlyMap<string, string>
}

/** What follows the tag is text up to its end tag, whatever it looks like (WHATWG HTML, 13.2.6). */
const textsAfter = new Map([
  ...["title", "textarea"].map((name) => [name, TokenizerMode.RCDATA] as const),
  ...["style", "xmp", "iframe", "noembed", "noframes", "noscript"].map((name) => [name, TokenizerMode.RAWTEXT] as const),
  ["script", TokenizerMode.SCRIPT_DATA] as const,
  ["plaintext", TokenizerMode.PLAINTEXT] as const
])

const ignored = () => {}
const unheard = { onNullCharacter: ignored, onComment: ignored, onDoctype: ignored, onEof: ignored }

// Nobody writes more. Without limits the work on a page would be the product of its parts, not their sum.
const longestText = 10_000
const mostOfAKind = 100

const telling = new Set(["base", "iframe", "link", "meta"])

/**
 * The tags that say something of the page, and its title. No tree is built: a page of some kilobytes can ask for one of gigabytes, or for
 * one deeper than any stack.
 */
const tagsOf = (html: string) => {
  const tags: Array<Tag> = []
  let title: string | undefined
  let inTitle = false
  // Drawings and formulas have titles of their own, and in them nothing but tags.
  let drawings = 0
  const said = ({ chars }: Token.CharacterToken) => {
    if (inTitle && (title?.length ?? 0) < longestText) title += chars
  }
  const reader = new Tokenizer(
    {},
    {
      onStartTag: ({ attrs, selfClosing, tagName: name }) => {
        if (telling.has(name)) tags.push({ name, attributes: new Map(attrs.map((attr) => [attr.name, attr.value.trim()])) })
        if ((name === "svg" || name === "math") && !selfClosing) drawings++
        if (drawings > 0) return
        reader.state = textsAfter.get(name) ?? TokenizerMode.DATA
        if (name === "title" && title === undefined) {
          title = ""
          inTitle = true
        }
      },
      onEndTag: ({ tagName }) => {
        inTitle = false
        if ((tagName === "svg" || tagName === "math") && drawings > 0) drawings--
      },
      onCharacter: said,
      onWhitespaceCharacter: said,
      ...unheard
    }
  )
  reader.write(html, true)
  return { tags, title }
}

/** The words that a reader of the page sees, at most so many characters; what hides text by its style is not known. */
export const wordsOf = (html: string, most: number): string => {
  let words = ""
  let isHidden = false
  const said = ({ chars }: Token.CharacterToken) => {
    if (!isHidden && words.length < most) words += chars
  }
  const apart = () => {
    words += " "
  }
  const reader = new Tokenizer(
    {},
    {
      onStartTag: ({ tagName: name }) => {
        reader.state = textsAfter.get(name) ?? TokenizerMode.DATA
        isHidden = textsAfter.has(name) && name !== "textarea" && name !== "title"
        apart()
      },
      onEndTag: () => {
        isHidden = false
        apart()
      },
      onCharacter: said,
      onWhitespaceCharacter: said,
      ...unheard
    }
  )
  reader.write(html, true)
  return words
    .replaceAll(/[\p{Cc}\p{Cs}\s]+/gu, " ")
    .trim()
    .slice(0, most)
    .toWellFormed()
}

const firstLine = (text: string) =>
  text
    .split(/[\r\n]+/u)
    .map((line) =>
      line
        .replaceAll(/[\p{Cc}\p{Cs}\s]+/gu, " ")
        .replaceAll(unseen, "")
        .trim()
    )
    .find((line) => line !== "")

const shorten = (text: string) => {
  const characters = [...text]
  return characters.length > 200 ? `${characters.slice(0, 199).join("")}…` : text
}

/** Reads a page as browsers do (WHATWG HTML); `address` is where it was found, to which what it names is relative. */
export const factsOf = (html: string, address: string): PageFacts => {
  const { tags, title } = tagsOf(html)
  const all = (name: string, attribute: string, of: (attributes: Tag["attributes"]) => boolean = () => true) =>
    tags
      .flatMap((tag) => (tag.name === name && of(tag.attributes) ? tag.attributes.get(attribute) || [] : []))
      .filter((text) => text.length <= longestText)
      .slice(0, mostOfAKind)
  const root = URL.parse(all("base", "href")[0] ?? "", address)?.href ?? address
  const absolute = (link: string) => {
    const url = URL.parse(link, root)
    return url !== null && /^https?:$/u.test(url.protocol) ? [url.href] : []
  }
  const meta = (name: string) => all("meta", "content", (of) => of.get("property") === name || of.get("name") === name)
  const isIcon = (of: Tag["attributes"]) => /(^|\s)(apple-touch-)?icon(\s|$)/iu.test(of.get("rel") ?? "")
  const icons = all("link", "href", isIcon)
  const bySize = tags
    .filter(({ attributes, name }) => name === "link" && isIcon(attributes))
    .slice(0, mostOfAKind)
    .toSorted((a, b) => iconSize(b) - iconSize(a))
    .flatMap(({ attributes }) => attributes.get("href") || [])
    .filter((text) => text.length <= longestText)
  const said = firstLine(title ?? "") ?? meta("og:title").flatMap((text) => firstLine(text) ?? [])[0]
  return {
    title: said === undefined ? null : shorten(said),
    images: [...new Set([...meta("og:image"), ...meta("twitter:image"), ...icons, "/favicon.ico"].flatMap(absolute))].slice(0, 6),
    icons: [...new Set([...bySize, "/favicon.ico"].flatMap(absolute))].slice(0, 6),
    pdfFrame: all("iframe", "src").flatMap(absolute).find(isPdfAddress) ?? null
  }
}

/** In pixels, as the page says it; those for home screens are 180 wide, drawings as wide as one likes. */
const iconSize = ({ attributes }: Tag) => {
  const sizes = attributes.get("sizes")?.slice(0, 200) ?? ""
  if (/\bany\b/iu.test(sizes) || /\.svg$/iu.test(attributes.get("href") ?? "")) return 150
  const widths = [...sizes.matchAll(/(\d{1,4})x\d/giu)].map(([, width]) => Number(width))
  return widths.length > 0 ? Math.max(...widths) : /apple/iu.test(attributes.get("rel") ?? "") ? 180 : 16
}

export const isPdfAddress = (address: string) => /\.pdf$/iu.test(URL.parse(address)?.pathname ?? "")

/** Whether bytes are a page, by how they begin; what begins like any text is believed to be what the server says. */
export const isPage = (beginning: Uint8Array, mediaType: string | null) => {
  // Not by TextDecoder, whose latin1 is windows-1252: it has another character for the first byte of a PNG.
  const text = Buffer.from(beginning.subarray(0, 2048))
    .toString("latin1")
    .replace(/^(\u00ef\u00bb\u00bf)?\s*(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)*/u, "")
  if (/^<(!doctype\s+html|html|head|body|title|meta|link|script|style|div|p)\b/iu.test(text)) return true
  return (
    /^(text\/html|application\/xhtml\+xml)$/u.test(mediaType ?? "") && !/^(%PDF|\u0089PNG|\u00ff\u00d8\u00ff|RIFF|<svg|GIF8|PK)/u.test(text)
  )
}

/** The text of a page, in the encoding that the header, else the page itself names, else UTF-8. */
export const pageText = (bytes: Uint8Array, charset: string | null) => {
  const beginning = new TextDecoder("latin1").decode(bytes.subarray(0, 4096))
  const named = charset ?? /<meta[^>]+charset\s*=\s*["']?([\w.:-]{1,40})/iu.exec(beginning)?.[1]
  try {
    return new TextDecoder(named ?? "utf-8").decode(bytes)
  } catch {
    return new TextDecoder().decode(bytes)
  }
}

/** The file name that a server gives (RFC 6266), else the last step of the address. */
export const nameFrom = (contentDisposition: string | null, address: string): string | null => {
  const [, charset, extended] = /filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;]+)/iu.exec(contentDisposition ?? "") ?? []
  const read = /^utf/iu.test(charset ?? "") ? decoded : latin1
  const plain = /filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/iu.exec(contentDisposition ?? "")
  const last = URL.parse(address)?.pathname.split("/").at(-1)
  return fileName(read(extended?.trim()) ?? plain?.[1]?.replaceAll(/\\(.)/gu, "$1") ?? plain?.[2] ?? decoded(last) ?? "")
}

const latin1 = (text: string | undefined) =>
  text?.replaceAll(/%([0-9a-f]{2})/giu, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))

const decoded = (text: string | undefined) => {
  try {
    return text === undefined ? undefined : decodeURIComponent(text)
  } catch {
    return text
  }
}
