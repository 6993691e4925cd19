import { execFile, spawn } from "node:child_process"
import * as fs from "node:fs"
import { connect as connectTo, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { type ChannelModel, connect } from "amqplib"
import type { TestProject } from "vitest/node"
import { ensureInstalled } from "./debian.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** Where the RabbitMQ of this run is, or will be when a test asks for it. */
    rabbitmqHome: string
  }
}

const bin = "/usr/lib/rabbitmq/bin"

interface Ports {
  readonly amqp: number
  readonly distribution: number
  readonly epmd: number
}

/** A real RabbitMQ on loopback. */
export interface RabbitMq {
  readonly host: string
  readonly port: number
  /** As AMQP_URL names it. */
  readonly url: string
  /** As an operator ends it: connections are closed with a reason. */
  readonly stop: () => Promise<void>
  readonly kill: () => Promise<void>
  /** Starts it again, on what it had, or lets it go on. */
  readonly start: () => Promise<void>
  readonly signal: (signal: "SIGSTOP" | "SIGCONT") => void
  /** Short of memory: connections that publish are blocked. */
  readonly alarm: (on: boolean) => Promise<void>
  readonly closeConnections: () => Promise<void>
  readonly control: (...args: ReadonlyArray<string>) => Promise<string>
  /** Something done by another client than ours. */
  readonly use: <A>(work: (model: ChannelModel) => Promise<A>) => Promise<A>
}

const prefix = "partwright-rabbitmq-"

/** For the whole run. Nothing starts before a test asks for it with `rabbitmq`. */
export default async (project: TestProject) => {
  await removeLeftovers()
  const home = fs.mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`))
  project.provide("rabbitmqHome", home)
  return () => remove(home)
}

/** The RabbitMQ of this run, started by whoever asks first. Test files run one after the other, so nobody else starts it meanwhile. */
export const rabbitmq = async (home: string): Promise<RabbitMq> => {
  if (!fs.existsSync(join(home, "ports.json"))) await create(home)
  const ports: Ports = JSON.parse(fs.readFileSync(join(home, "ports.json"), "utf8"))
  await start(home, ports)
  const url = `amqp://guest:guest@127.0.0.1:${ports.amqp}`
  const control = (...args: ReadonlyArray<string>) => run(`${bin}/rabbitmqctl`, ["-q", ...args], environment(home, ports))
  return {
    host: "127.0.0.1",
    port: ports.amqp,
    url,
    control,
    stop: () => end(home, "rabbitmq", "SIGTERM"),
    kill: () => end(home, "rabbitmq", "SIGKILL"),
    start: () => start(home, ports),
    signal: (signal) => void process.kill(pidOf(home, "rabbitmq"), signal),
    alarm: async (on) => void (await control("set_vm_memory_high_watermark", ...(on ? ["0.00001"] : ["absolute", enoughMemory]))),
    closeConnections: async () => void (await control("close_all_connections", "by the operator")),
    use: async (work) => {
      const model = await connect(url, { noDelay: true })
      model.on("error", () => {})
      try {
        return await work(model)
      } finally {
        await model.close().catch(() => {})
      }
    }
  }
}

const enoughMemory = "1GB"

const create = async (home: string) => {
  ensureInstalled(`${bin}/rabbitmqctl`, "rabbitmq-server")
  for (const folder of ["data", "log"]) fs.mkdirSync(join(home, folder))
  fs.writeFileSync(join(home, "enabled_plugins"), "[].")
  fs.writeFileSync(
    join(home, "rabbitmq.conf"),
    `loopback_users = none
vm_memory_high_watermark.absolute = ${enoughMemory}
disk_free_limit.absolute = 50MB
log.console.level = warning
log.file = false
`
  )
  const [amqp, distribution, epmd] = await freePorts(3)
  fs.writeFileSync(join(home, "ports.json"), JSON.stringify({ amqp, distribution, epmd }))
}

// Names and ports of its own, also for what finds its nodes: a RabbitMQ of the machine is not touched.
const environment = (home: string, { amqp, distribution, epmd }: Ports) => ({
  PATH: process.env.PATH,
  LANG: "C.UTF-8",
  HOME: home,
  RABBITMQ_NODENAME: `partwright${amqp}@localhost`,
  RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
  RABBITMQ_NODE_PORT: String(amqp),
  RABBITMQ_DIST_PORT: String(distribution),
  ERL_EPMD_PORT: String(epmd),
  ERL_EPMD_ADDRESS: "127.0.0.1",
  RABBITMQ_MNESIA_BASE: join(home, "data"),
  RABBITMQ_LOG_BASE: join(home, "log"),
  RABBITMQ_CONFIG_FILE: join(home, "rabbitmq.conf"),
  RABBITMQ_CONF_ENV_FILE: join(home, "none"),
  RABBITMQ_ENABLED_PLUGINS_FILE: join(home, "enabled_plugins"),
  RABBITMQ_GENERATED_CONFIG_DIR: join(home, "generated"),
  // Its starter then becomes the broker, instead of staying in between and keeping signals to itself.
  RUNNING_UNDER_SYSTEMD: "1",
  // Idle schedulers would spin, and there are two cores for everyone.
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
})

type Daemon = "epmd" | "rabbitmq"

const start = async (home: string, ports: Ports) => {
  // By itself the broker would start one that outlives it.
  if (!lives(home, "epmd")) launch(home, ports, "epmd", "epmd", ["-port", String(ports.epmd), "-address", "127.0.0.1"])
  if (!lives(home, "rabbitmq")) launch(home, ports, "rabbitmq", `${bin}/rabbitmq-server`, [])
  // A test that failed may have left it standing still.
  else process.kill(pidOf(home, "rabbitmq"), "SIGCONT")
  await until(home, "it speaks AMQP", async () => {
    if (!lives(home, "rabbitmq")) throw new Error(`RabbitMQ has ended:\n${read(join(home, "rabbitmq.out"))}`)
    return speaksAmqp(ports.amqp)
  })
}

const launch = (home: string, ports: Ports, daemon: Daemon, program: string, args: ReadonlyArray<string>) => {
  const output = fs.openSync(join(home, `${daemon}.out`), "a")
  // On its own: it outlives the test file that asked for it, and the signals that its terminal sends.
  const child = spawn(program, args, { detached: true, stdio: ["ignore", output, output], env: environment(home, ports) })
  fs.closeSync(output)
  child.unref()
  if (child.pid === undefined) throw new Error(`${program} cannot be started`)
  fs.writeFileSync(join(home, `${daemon}.pid`), String(child.pid))
}

const end = async (home: string, daemon: Daemon, signal: "SIGTERM" | "SIGKILL") => {
  if (lives(home, daemon)) process.kill(pidOf(home, daemon), signal)
  await until(home, `${daemon} has ended`, () => !lives(home, daemon))
}

const pidOf = (home: string, daemon: Daemon) => Number(read(join(home, `${daemon}.pid`)))

/** Whether it runs, and is no other process with a number that was used again. One that has ended may wait for its parent to look. */
const lives = (home: string, daemon: Daemon) => {
  const pid = pidOf(home, daemon)
  return pid > 0 && read(`/proc/${pid}/environ`).includes(home) && !/^State:\s+Z/mu.test(read(`/proc/${pid}/status`))
}

const remove = async (home: string) => {
  for (const daemon of ["rabbitmq", "epmd"] as const) await end(home, daemon, "SIGKILL")
  // Its helpers end when they notice.
  await until(home, "nothing writes there", () => {
    fs.rmSync(home, { recursive: true, force: true, maxRetries: 5 })
    return !fs.existsSync(home)
  })
}

/** Of runs that were killed. */
const removeLeftovers = async () => {
  for (const name of fs.readdirSync(tmpdir())) {
    const owner = Number(new RegExp(`^${prefix}(\\d+)-`, "u").exec(name)?.[1])
    if (Number.isInteger(owner) && !fs.existsSync(`/proc/${owner}`)) await remove(join(tmpdir(), name))
  }
}

const run = async (program: string, args: ReadonlyArray<string>, env: NodeJS.ProcessEnv) =>
  (await promisify(execFile)(program, [...args], { env })).stdout

/** A bare connection is taken before the broker can work. */
const speaksAmqp = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connectTo(port, "127.0.0.1", () => socket.write(Buffer.from("AMQP\x00\x00\x09\x01", "latin1")))
    const settle = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(2000, () => settle(false))
    socket.once("error", () => settle(false)).once("close", () => settle(false))
    socket.once("data", ([type]) => settle(type === 1))
  })

const until = async (home: string, what: string, is: () => boolean | Promise<boolean>) => {
  const deadline = performance.now() + 60_000
  while (!(await is())) {
    if (performance.now() > deadline) throw new Error(`RabbitMQ in ${home}: not within 60 s: ${what}`)
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

const freePorts = async (count: number) => {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer().once("error", reject)
          server.listen(0, "127.0.0.1", () => resolve(server))
        })
    )
  )
  return Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          const address = server.address()
          server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))))
        })
    )
  )
}
