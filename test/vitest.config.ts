import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    root: fileURLToPath(new URL("..", import.meta.url)),
    include: ["test/**/*.test.ts"],
    exclude: ["test/services/**"],
    globalSetup: ["test/support/global-setup.ts"],
    // What a passed test logs is noise around one that failed.
    silent: "passed-only",
    pool: "forks",
    // Dozens of callers at once are normal in these tests: more files beside each other would starve them.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000
  }
})
