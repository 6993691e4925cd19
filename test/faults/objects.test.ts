import * as fs from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { objectFaults } from "../support/object-faults-suite.ts"

/** Puts folders in the places of the files, which nobody may delete as files, not even root. */
const refusing = (dataDir: string) =>
  Effect.sync(() => {
    const root = join(dataDir, "objects")
    const files = fs
      .readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name, parentPath }) => join(parentPath, name))
    for (const [n, file] of files.entries()) {
      fs.renameSync(file, join(dataDir, `aside-${n}`))
      fs.mkdirSync(file)
    }
    return Effect.sync(() => {
      for (const [n, file] of files.entries()) {
        fs.rmdirSync(file)
        fs.renameSync(join(dataDir, `aside-${n}`), file)
      }
    })
  })

objectFaults("files", Effect.succeed({ S3_ENDPOINT: "" }), 4, refusing)
