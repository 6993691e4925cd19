import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

// The suite of the features once more, on an outside PostgreSQL 15, what needs other real programs, and the faults that take long. What
// is left out here starts an embedded database itself, or needs none.
// A process that starts compiles for a second otherwise, and hundreds do: those of vitest and those of the tests.
process.env.NODE_COMPILE_CACHE ??= join(tmpdir(), "partwright-compile-cache")

export default defineConfig({
  test: {
    root: fileURLToPath(new URL("../..", import.meta.url)),
    include: ["test/inventory/**/*.test.ts", "test/platform/**/*.test.ts", "test/services/**/*.test.ts", "test/faults/**/*.test.ts"],
    exclude: ["test/platform/embedded-postgres.test.ts", "test/platform/object-store*.test.ts"],
    globalSetup: [
      "test/services/outside-postgres.ts",
      "test/services/ceph.ts",
      "test/services/rabbitmq.ts",
      "test/support/global-setup.ts"
    ],
    // What a passed test logs is noise around one that failed.
    silent: "passed-only",
    pool: "forks",
    // Whoever asks first starts Ceph, for all files after it.
    maxWorkers: 1,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000
  }
})
