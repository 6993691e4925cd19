import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { root } from "./server-process.ts"

const isRoot = process.getuid?.() === 0
const apart = ["unshare", "--mount", ...(isRoot ? [] : ["--map-root-user"])] as const

/** The server, with a disk of its own of so many megabytes at the folder: a real file system that nobody else sees. */
export const onSmallDisk = (folder: string, megabytes: number): readonly [program: string, ...args: ReadonlyArray<string>] => {
  const { status, stderr } = spawnSync(apart[0], [...apart.slice(1), "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { encoding: "utf8" })
  if (status !== 0)
    throw new Error(`A full disk needs a disk of its own, and this machine lets neither root nor a user namespace mount one: ${stderr}`)
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  const mounted = `mount -t tmpfs -o size=${megabytes}m,mode=0700 tmpfs "$0" && exec "$@"`
  return [...apart, "sh", "-c", mounted, folder, process.execPath, "src/main.ts", "serve"]
}

/** A command of ours that sees the disk of such a server. */
export const oursBeside = (pid: number, ...args: ReadonlyArray<string>): readonly [program: string, ...args: ReadonlyArray<string>] => {
  const spaces = isRoot ? ["--mount"] : ["--mount", "--user", "--preserve-credentials"]
  return ["nsenter", `--target=${pid}`, ...spaces, process.execPath, join(root, "src/main.ts"), ...args]
}

/** The files below a folder as the process sees it. */
export const filesSeenBy = (pid: number, folder: string) =>
  fs
    .readdirSync(`/proc/${pid}/root${folder}`, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)
