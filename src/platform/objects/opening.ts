import { Effect, Option } from "effect"
import { StorageUnavailable } from "../http/problems.ts"
import type { ByteRange, StoredObject } from "./object.ts"
import type { Objects } from "./objects.service.ts"

/**
 * Opens an object that a row was seen to refer to. When it is not in the store, it has gone together with the row since then; with a row
 * it must be there. `what` is told to people: "the document 4711".
 */
export const opening =
  <E>(objects: Objects["Service"], what: string, gone: () => E) =>
  (object: StoredObject) =>
  (range: ByteRange | undefined) =>
    objects.read(object, range).pipe(
      Effect.map(({ body }) => body),
      Effect.catchTag("ObjectMissing", () =>
        Effect.flatMap(
          objects.find(object.id),
          (found): Effect.Effect<never, E | StorageUnavailable> =>
            Effect.fail(
              Option.isSome(found)
                ? new StorageUnavailable({
                    detail: `The file of ${what} is not in the store. Whoever runs the server can look with: partwright objects verify.`
                  })
                : gone()
            )
        )
      )
    )
