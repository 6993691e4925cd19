import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { LongestFirst } from "./support/sequencer.ts"

// A process that starts compiles for a second otherwise, and hundreds do: those of vitest and those of the tests.
process.env.NODE_COMPILE_CACHE ??= join(tmpdir(), "partwright-compile-cache")

export default defineConfig({
  test: {
    root: fileURLToPath(new URL("..", import.meta.url)),
    include: ["test/**/*.test.ts"],
    exclude: ["test/services/**", "test/faults/**"],
    sequence: { sequencer: LongestFirst },
    globalSetup: ["test/support/global-setup.ts"],
    // What a passed test logs is noise around one that failed.
    silent: "passed-only",
    pool: "forks",
    // Reading the whole program takes a second, once for each file otherwise. Each world has its own metrics; nothing else is shared.
    isolate: false,
    // Dozens of callers at once are normal in these tests: more files beside each other would starve them.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000
  }
})
