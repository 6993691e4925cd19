import { Effect, Option, Schema, SchemaTransformation, type Scope, Stream } from "effect"
import type { Multipart } from "effect/http"
import type { Limit, Staged, TooLarge } from "../objects/object.ts"
import { type InvalidRequest, invalidField, PayloadTooLarge, type StorageUnavailable } from "./problems.ts"
import { invalidBody } from "./validation.ts"

/** A file of a form and its name. */
export interface ReceivedFile {
  readonly staged: Staged
  /** As the client says it: not to be believed. */
  readonly filename: string
}

/** The file with the texts beside it. */
export interface Received extends ReceivedFile {
  readonly fields: Readonly<Record<string, string>>
}

/**
 * What every form with a file may have; longer texts and more parts are refused while they arrive. The file has a limit of its own, where
 * it is staged; without a word about the whole form, that of JSON bodies would hold.
 */
export const formLimits = { maxParts: 16, maxFieldSize: "16 KiB", maxTotalSize: "1 TiB" } as const

type Stage = (
  bytes: Stream.Stream<Uint8Array, Multipart.MultipartError>,
  options: { readonly maxBytes: Limit }
) => Effect.Effect<Staged, Multipart.MultipartError | TooLarge | StorageUnavailable, Scope.Scope>

interface ReceiveOptions {
  readonly stage: Stage
  readonly maxBytes: Limit
}

/** Lets a form with exactly one part `file` arrive, see {@link receiveForm}. */
export const receiveFile = (parts: Stream.Stream<Multipart.Part, Multipart.MultipartError>, options: ReceiveOptions) =>
  Effect.flatMap(
    receiveForm(parts, "file", options),
    ({ fields, file }): Effect.Effect<Received, InvalidRequest> =>
      Option.isSome(file) ? Effect.succeed({ ...file.value, fields }) : Effect.fail(invalidField("body", "/file", "Expected a file"))
  )

/**
 * Lets a form with at most one file arrive (RFC 7578), in the part of this name: the file goes to the stage as it comes, and is refused
 * with its first byte that is too many. Texts are taken as they are; the caller knows which there may be.
 */
export const receiveForm = (
  parts: Stream.Stream<Multipart.Part, Multipart.MultipartError>,
  name: string,
  options: ReceiveOptions & { readonly maxFieldSize?: string }
): Effect.Effect<
  { readonly file: Option.Option<ReceivedFile>; readonly fields: Readonly<Record<string, string>> },
  InvalidRequest | PayloadTooLarge | StorageUnavailable,
  Scope.Scope
> =>
  Effect.gen(function* () {
    let file = Option.none<ReceivedFile>()
    const fields: Record<string, string> = Object.create(null)
    yield* Stream.runForEach(
      parts,
      Effect.fnUntraced(function* (part) {
        if (part._tag === "Field") {
          if (part.key === name) return yield* invalidField("body", `/${name}`, "Expected a file, found text: send it with its file name")
          if (part.key in fields) return yield* invalidField("body", `/${part.key}`, "Expected at most once")
          fields[part.key] = part.value
          return
        }
        if (part.key !== name) return yield* invalidField("body", `/${part.key}`, `Unknown field or parameter: the file is sent as ${name}`)
        if (Option.isSome(file))
          return yield* invalidField("body", `/${name}`, "Expected one file: send the others in requests of their own")
        file = Option.some({ staged: yield* options.stage(part.content, { maxBytes: options.maxBytes }), filename: part.name })
      })
    )
    return { file, fields }
  }).pipe(
    Effect.catchTags({
      TooLarge: ({ maxBytes }) => Effect.fail(fileTooLarge(maxBytes)),
      MultipartError: ({ reason }): Effect.Effect<never, InvalidRequest | PayloadTooLarge> => {
        switch (reason._tag) {
          case "FieldTooLarge":
          case "TooManyParts":
          case "BodyTooLarge":
          case "FileTooLarge":
            return Effect.fail(
              new PayloadTooLarge({
                detail: `A form has at most ${formLimits.maxParts} parts, and its texts at most ${options.maxFieldSize ?? formLimits.maxFieldSize} each.`
              })
            )
          case "Parse":
            return Effect.fail(
              invalidField("body", "", "Expected multipart/form-data as RFC 7578 describes it: its parts and boundary cannot be read")
            )
          default:
            return Effect.die(reason.cause ?? reason)
        }
      }
    })
  )

export const fileTooLarge = (maxBytes: number) =>
  new PayloadTooLarge({ detail: `The file is larger than ${Math.floor(maxBytes / 2 ** 20)} MiB.` })

/** Yes or no in a form, which has nothing but texts. */
export const formFlag = Schema.Literals(["true", "false"]).pipe(
  Schema.decodeTo(
    Schema.Boolean,
    SchemaTransformation.transform({ decode: (text) => text === "true", encode: (is) => (is ? "true" : "false") })
  )
)

/** The texts of a form, decoded; every one that is wrong or unknown is told. */
export const decodeFields = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (fields: Readonly<Record<string, string>>): Effect.Effect<S["Type"], InvalidRequest> =>
    Effect.catch(decode(fields, { errors: "all", onExcessProperty: "error" }), ({ issue }) => Effect.fail(invalidBody(issue)))
}
