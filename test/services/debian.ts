import { execFileSync, spawnSync } from "node:child_process"

/** Installs Debian packages unless `program` is there already. A real server cannot be replaced: without it the suite fails. */
export const ensureInstalled = (program: string, ...packages: ReadonlyArray<string>) => {
  if (spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0) return
  if (process.getuid?.() !== 0) throw new Error(`${program} is missing; install the Debian packages ${packages.join(", ")}`)
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  execFileSync("apt-get", ["update", "-q"], { env, stdio: "ignore" })
  execFileSync("apt-get", ["install", "-y", "-q", "--no-install-recommends", ...packages], { env, stdio: "ignore" })
  if (spawnSync(program, ["--version"], { stdio: "ignore" }).status !== 0)
    throw new Error(`${program} is still missing after installing ${packages.join(", ")}`)
}
