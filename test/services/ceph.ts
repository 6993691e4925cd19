import { execFileSync, spawn } from "node:child_process"
import { randomBytes, randomUUID } from "node:crypto"
import * as fs from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TestProject } from "vitest/node"
import { ensureInstalled } from "./debian.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** Where the Ceph of this run is, or will be when a test asks for it. */
    cephHome: string
  }
}

export interface Access {
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

type Daemon = "mon" | "osd" | "rgw"
const daemons: ReadonlyArray<Daemon> = ["rgw", "osd", "mon"]

/** A real Ceph with its S3 gateway: one monitor, one disk in memory, one gateway, on loopback. */
export interface Ceph extends Access {
  /** What a process of ours is told to use it. */
  readonly env: Record<string, string>
  readonly signal: (daemon: Daemon, signal: "SIGSTOP" | "SIGCONT" | "SIGKILL") => void
  /** Kills the gateway; its connections are reset and new ones refused. */
  readonly killGateway: () => Promise<void>
  /** Starts the gateway again; what was stored is still there. */
  readonly startGateway: () => Promise<void>
}

const prefix = "partwright-ceph-"

/** For the whole run. Nothing starts before a test asks for it with `ceph`. */
export default async (project: TestProject) => {
  await removeLeftovers()
  const home = fs.mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`))
  project.provide("cephHome", home)
  return () => remove(home)
}

/** The Ceph of this run, started by whoever asks first. Test files run one after the other, so nobody else starts it meanwhile. */
export const ceph = async (home: string): Promise<Ceph> => {
  if (!fs.existsSync(join(home, "access.json"))) await create(home)
  const access: Access = JSON.parse(fs.readFileSync(join(home, "access.json"), "utf8"))
  const startGateway = async () => {
    if (!lives(home, "rgw")) start(home, "rgw", "radosgw", ["-n", "client.rgw.a"])
    await answers(home, access.endpoint)
  }
  await startGateway()
  return {
    ...access,
    env: { S3_ENDPOINT: access.endpoint, S3_ACCESS_KEY_ID: access.accessKeyId, S3_SECRET_ACCESS_KEY: access.secretAccessKey },
    signal: (daemon, signal) => void process.kill(pidOf(home, daemon), signal),
    killGateway: () => kill(home, "rgw"),
    startGateway
  }
}

const create = async (home: string) => {
  ensureInstalled("radosgw", "radosgw", "ceph-mon", "ceph-osd")
  const [gatewayPort, monitorPort] = [await freePort(), await freePort()]
  for (const folder of ["mon", "osd", "rgw", "run"]) fs.mkdirSync(join(home, folder))
  const fsid = randomUUID()
  fs.writeFileSync(join(home, "ceph.conf"), configuration(home, fsid, gatewayPort, monitorPort))
  const conf = ["-c", join(home, "ceph.conf")]
  const keyring = join(home, "keyring")
  const key = (name: string, ...caps: ReadonlyArray<string>) =>
    run("ceph-authtool", [keyring, "--gen-key", "-n", name, ...caps.flatMap((cap) => ["--cap", ...cap.split(/ (.*)/u, 2)])])

  run("monmaptool", ["--create", "--fsid", fsid, "--addv", "a", `[v2:127.0.0.1:${monitorPort}]`, join(home, "monmap")])
  run("ceph-authtool", ["--create-keyring", keyring])
  key("mon.", "mon allow *")
  key("client.admin", "mon allow *", "osd allow *", "mgr allow *")
  key("client.rgw.a", "mon allow rw", "osd allow rwx")
  // `osd new` demands exactly these.
  key("osd.0", "mon allow profile osd", "mgr allow profile osd", "osd allow *")
  run("ceph-mon", [...conf, "-i", "a", "--mkfs", "--monmap", join(home, "monmap"), "--keyring", keyring])
  start(home, "mon", "ceph-mon", ["-i", "a"])

  const uuid = randomUUID()
  const secret = run("ceph-authtool", [keyring, "-p", "-n", "osd.0"]).trim()
  run("ceph", [...conf, "--connect-timeout", "20", "osd", "new", uuid, "-i", "-"], JSON.stringify({ cephx_secret: secret }))
  run("ceph-osd", [...conf, "-i", "0", "--mkfs", "--osd-uuid", uuid])
  start(home, "osd", "ceph-osd", ["-i", "0"])
  // A gateway that starts before its disk is up waits five seconds until it looks again.
  await until(home, "the disk is up", () => /osd\.0 .* boot/u.test(read(join(home, "cluster.log"))))
  start(home, "rgw", "radosgw", ["-n", "client.rgw.a"])
  const endpoint = `http://127.0.0.1:${gatewayPort}`
  await answers(home, endpoint)

  const [accessKeyId, secretAccessKey] = [randomBytes(10).toString("hex"), randomBytes(20).toString("hex")]
  const user = ["user", "create", "--uid=partwright", "--display-name=partwright"]
  run("radosgw-admin", [...conf, "-n", "client.rgw.a", ...user, `--access-key=${accessKeyId}`, `--secret-key=${secretAccessKey}`])
  fs.writeFileSync(join(home, "access.json"), JSON.stringify({ endpoint, accessKeyId, secretAccessKey } satisfies Access))
}

// Version 16 of the gateway hangs when authentication is off, so there is one keyring for all. A gateway that was killed is
// waited for whenever a bucket is made, half a minute long unless the watch of it ends before.
const configuration = (home: string, fsid: string, gatewayPort: number, monitorPort: number) => `[global]
fsid = ${fsid}
mon host = v2:127.0.0.1:${monitorPort}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = ${home}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 4000
mon data avail crit = 1
mon data avail warn = 2
paxos propose interval = 0.02
paxos min wait = 0.01
mon pg warn min per osd = 0
osd objectstore = memstore
osd client watch timeout = 3
memstore device bytes = 4294967296
osd memory target = 939524096
osd max object name len = 460
osd max object namespace len = 64
run dir = ${home}/run
admin socket = ${home}/run/$name.asok
log file = ${home}/$name.log
pid file =
crash dir = ${home}/run
[mon]
mon data = ${home}/mon
mon cluster log file = ${home}/cluster.log
[osd]
osd data = ${home}/osd
osd journal =
debug osd = 0
[client.rgw.a]
rgw data = ${home}/rgw
rgw frontends = beast endpoint=127.0.0.1:${gatewayPort} tcp_nodelay=1
rgw thread pool size = 64
rgw rados pool pg num min = 1
rgw enable usage log = false
rgw enable ops log = false
`

const run = (program: string, args: ReadonlyArray<string>, input = "") =>
  execFileSync(program, args, { input, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] })

const start = (home: string, daemon: Daemon, program: string, args: ReadonlyArray<string>) => {
  const output = fs.openSync(join(home, `${daemon}.out`), "a")
  // On its own: it outlives the test file that asked for it, and the signals that its terminal sends.
  const child = spawn(program, ["-c", join(home, "ceph.conf"), ...args, "-f"], { detached: true, stdio: ["ignore", output, output] })
  fs.closeSync(output)
  child.unref()
  if (child.pid === undefined) throw new Error(`${program} cannot be started`)
  fs.writeFileSync(join(home, `${daemon}.pid`), String(child.pid))
}

const pidOf = (home: string, daemon: Daemon) => Number(read(join(home, `${daemon}.pid`)))

/** Whether it runs, and is no other process with a number that was used again. One that has ended may wait for its parent to look. */
const lives = (home: string, daemon: Daemon) => {
  const pid = pidOf(home, daemon)
  return pid > 0 && read(`/proc/${pid}/cmdline`).includes(home) && !/^State:\s+Z/mu.test(read(`/proc/${pid}/status`))
}

const kill = async (home: string, daemon: Daemon) => {
  if (lives(home, daemon)) process.kill(pidOf(home, daemon), "SIGKILL")
  await until(home, `${daemon} has ended`, () => !lives(home, daemon))
}

const remove = async (home: string) => {
  for (const daemon of daemons) await kill(home, daemon)
  fs.rmSync(home, { recursive: true, force: true })
}

/** Of runs that were killed. */
const removeLeftovers = async () => {
  for (const name of fs.readdirSync(tmpdir())) {
    const owner = Number(new RegExp(`^${prefix}(\\d+)-`, "u").exec(name)?.[1])
    if (Number.isInteger(owner) && !fs.existsSync(`/proc/${owner}`)) await remove(join(tmpdir(), name))
  }
}

const answers = (home: string, endpoint: string) =>
  until(home, "the gateway answers", async () => {
    if (!lives(home, "rgw")) throw new Error(`radosgw has ended:\n${read(join(home, "rgw.out"))}`)
    return fetch(endpoint, { signal: AbortSignal.timeout(5000) }).then(
      ({ ok }) => ok,
      () => false
    )
  })

const until = async (home: string, what: string, is: () => boolean | Promise<boolean>) => {
  const deadline = performance.now() + 60_000
  while (!(await is())) {
    if (performance.now() > deadline) throw new Error(`Ceph in ${home}: not within 60 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const read = (path: string) => {
  try {
    return fs.readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))))
    })
  })
