import type { Duplex } from "node:stream"
import { type ChannelModel, connect } from "amqplib"
import { Data, Deferred, Duration, Effect, Latch, Metric, Random, Redacted } from "effect"

/** Why the broker did not do what it was asked. The cause may name users and addresses: people are shown `explain` instead. */
export class AmqpError extends Data.TaggedError("AmqpError")<{ readonly cause: unknown }> {
  override get message() {
    return this.cause instanceof Error ? this.cause.message : String(this.cause)
  }
}

/** Where the broker is, without what must not be shown. */
export interface Address {
  readonly place: string
  readonly options: Parameters<typeof connect>[0]
}

const patience = Duration.seconds(5)
const farewell = Duration.seconds(1)
const silence = "no answer in time"

// Two of these without a sign of life, and the broker counts as gone.
const heartbeatSeconds = 10

export const addressOf = (url: Redacted.Redacted): Address => {
  const { hostname, password, pathname, port, protocol, searchParams, username } = new URL(Redacted.value(url))
  const host = hostname.replaceAll(/^\[|\]$/gu, "")
  const number = (name: string) => (/^\d{1,9}$/u.test(searchParams.get(name) ?? "") ? Number(searchParams.get(name)) : undefined)
  const [frameMax, channelMax] = [number("frameMax"), number("channelMax")]
  const secure = protocol === "amqps:"
  return {
    place: `${hostname || "localhost"}:${port || (secure ? 5671 : 5672)}`,
    // Given a URL, the client reads percent escapes as Latin-1, and a password with an umlaut is wrong.
    options: {
      protocol: secure ? "amqps" : "amqp",
      hostname: host || "localhost",
      ...(port === "" ? {} : { port: Number(port) }),
      ...(username === "" && password === "" ? {} : { username: unescaped(username), password: unescaped(password) }),
      vhost: pathname.slice(1),
      heartbeat: number("heartbeat") ?? heartbeatSeconds,
      ...(frameMax === undefined ? {} : { frameMax }),
      ...(channelMax === undefined ? {} : { channelMax })
    }
  }
}

const unescaped = (text: string) => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** One connection while it is open. */
export interface Session {
  readonly model: ChannelModel
  readonly isOpen: () => boolean
  /** Why it has ended. */
  readonly ended: Effect.Effect<AmqpError>
  /** Why the broker takes no messages at the moment; undefined while it does. */
  readonly blocked: () => string | undefined
  readonly unblocked: Effect.Effect<void>
  /** Queues that are known to be there. */
  readonly declared: Set<string>
}

export interface Connection {
  /** The session that is open now, or the next one. */
  readonly session: Effect.Effect<Session>
  readonly current: () => Session | undefined
  /** For people: why there is no session, as far as it is known. */
  readonly trouble: () => string
}

const connectedNow = Metric.gauge("queue_connected", { description: "1 while the connection to the message broker is open, else 0" })
const blockedNow = Metric.gauge("queue_blocked", {
  description: "1 while the message broker takes no messages, because it is short of memory or disk, else 0"
})

/**
 * A connection for each direction, as the broker stops to read from one that publishes while it is short of memory: the
 * acknowledgements of workers must not wait behind that.
 */
type Direction = "publish" | "consume"

/** A connection that is opened again for ever, until the scope ends. */
export const stayConnected = Effect.fnUntraced(function* (address: Address, direction: Direction) {
  const opened = Latch.makeUnsafe(false)
  let session: Session | undefined
  let trouble = `RabbitMQ at ${address.place} has not answered yet.`
  let attempts = 0
  const context = yield* Effect.context<never>()
  const gauge = (metric: Metric.Gauge<number>) => {
    const mine = Metric.withAttributes(metric, { connection: direction })
    mine.updateUnsafe(0, context)
    return (is: boolean) => mine.updateUnsafe(is ? 1 : 0, context)
  }
  const [setConnected, setBlocked] = [gauge(connectedNow), gauge(blockedNow)]

  const once = Effect.gen(function* () {
    const next = yield* open(address, setBlocked)
    session = next
    opened.openUnsafe()
    setConnected(true)
    if (attempts > 1) yield* Effect.logInfo(`RabbitMQ at ${address.place} is there again`)
    attempts = 0
    return yield* Effect.flatMap(next.ended, Effect.fail).pipe(
      // Before the scope ends, which may take a second: nobody should begin anything on it.
      Effect.ensuring(
        Effect.sync(() => {
          session = undefined
          opened.closeUnsafe()
          setConnected(false)
          setBlocked(false)
        })
      )
    )
  }).pipe(Effect.scoped)

  yield* once.pipe(
    Effect.catchCause((cause) =>
      Effect.gen(function* () {
        const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
        const known = error === undefined ? undefined : explain(error, address)
        // Once: the broker may be away for hours.
        if (attempts === 0) yield* Effect.logWarning(known ?? "the connection to RabbitMQ broke", ...(error === undefined ? [cause] : []))
        trouble = known ?? `The connection to RabbitMQ at ${address.place} breaks.`
        yield* Effect.sleep(yield* pause(attempts++))
      })
    ),
    Effect.forever,
    Effect.withTracerEnabled(false),
    Effect.forkScoped
  )

  const wait: Effect.Effect<Session> = Effect.suspend(() =>
    session === undefined ? Effect.andThen(opened.await, wait) : Effect.succeed(session)
  )
  return { session: wait, current: () => session, trouble: () => trouble } satisfies Connection
})

/** From 0.2 to 5 seconds, and never the same for two processes. */
export const pause = (attempt: number) =>
  Effect.map(Random.nextBetween(0.5, 1), (part) => Duration.millis(Math.max(200, part * Math.min(5000, 400 * 2 ** Math.min(attempt, 10)))))

const open = Effect.fnUntraced(function* (address: Address, onBlocked: (blocked: boolean) => void) {
  const model = yield* Effect.acquireRelease(dial(address), hangUp, { interruptible: true })
  const ended = Deferred.makeUnsafe<AmqpError>()
  const unblocked = Latch.makeUnsafe(true)
  let blocked: string | undefined
  let reason: unknown
  const block = (why: string | undefined) => {
    blocked = why
    if (why === undefined) unblocked.openUnsafe()
    else unblocked.closeUnsafe()
    onBlocked(why !== undefined)
  }
  model
    .on("error", (error) => {
      reason ??= error
    })
    .on("close", (error) =>
      Deferred.doneUnsafe(ended, Effect.succeed(new AmqpError({ cause: reason ?? error ?? new Error("it was closed") })))
    )
    .on("blocked", (why) => block(why))
    .on("unblocked", () => block(undefined))
  return {
    model,
    isOpen: () => !Deferred.isDoneUnsafe(ended),
    ended: Deferred.await(ended),
    blocked: () => blocked,
    unblocked: unblocked.await,
    declared: new Set<string>()
  } satisfies Session
})

const dial = ({ options }: Address) =>
  Effect.callback<ChannelModel, AmqpError>((resume) => {
    let unwanted = false
    connect(options, { noDelay: true, keepAlive: true, timeout: Duration.toMillis(patience) }).then(
      (model) => {
        // Without a listener the first error would end the process.
        model.on("error", () => {})
        writeTogether(streamOf(model))
        if (unwanted) destroy(model)
        else resume(Effect.succeed(model))
      },
      (cause) => resume(Effect.fail(new AmqpError({ cause })))
    )
    return Effect.sync(() => {
      unwanted = true
    })
  })

const hangUp = (model: ChannelModel) =>
  attempt(() => model.close(), farewell).pipe(Effect.ignore, Effect.andThen(Effect.sync(() => destroy(model))))

// One whose broker is silent would stay half open for ever: the client only says goodbye.
const destroy = (model: ChannelModel) => streamOf(model).destroy()

const streamOf = ({ connection }: ChannelModel) => (connection as unknown as { readonly stream: Duplex }).stream

// The client writes every message and every acknowledgement by itself: a system call each, and one wake of the broker.
const writeTogether = (stream: Duplex) => {
  const write = stream.write.bind(stream) as (...args: ReadonlyArray<unknown>) => boolean
  let isGathering = false
  stream.write = (...args: ReadonlyArray<unknown>) => {
    if (!isGathering) {
      isGathering = true
      stream.cork()
      process.nextTick(() => {
        isGathering = false
        stream.uncork()
      })
    }
    return write(...args)
  }
}

/** One call of the client. */
export const attempt = <A>(call: () => Promise<A>, within: Duration.Duration = patience) =>
  Effect.tryPromise({ try: call, catch: (cause) => new AmqpError({ cause }) }).pipe(
    Effect.timeoutOrElse({ duration: within, orElse: () => Effect.fail(new AmqpError({ cause: new Error(silence) })) })
  )

/** A channel until the scope ends; `ended` says why the broker ended it before. */
export const channelOf = ({ model }: Session) =>
  Effect.gen(function* () {
    const channel = yield* Effect.acquireRelease(
      attempt(() => model.createChannel()),
      (channel) => Effect.ignore(attempt(() => channel.close(), farewell)),
      { interruptible: true }
    )
    const ended = Deferred.makeUnsafe<AmqpError>()
    let reason: unknown
    channel.on("error", (error) => {
      reason = error
    })
    channel.on("close", () =>
      Deferred.doneUnsafe(ended, Effect.succeed(new AmqpError({ cause: reason ?? new Error("the channel was closed") })))
    )
    return { channel, ended: Deferred.await(ended) }
  })

/** Of the system, of the broker, or what it calls its refusal. */
export const codeOf = ({ cause }: AmqpError) => {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
  // For what is refused while it introduces itself the client has only words.
  return code ?? refusals.find(([words]) => words.test(String(cause)))?.[1]
}

const refusals = [
  [/\bACCESS[-_]REFUSED\b/u, "ACCESS-REFUSED"],
  [/\bNOT[-_]ALLOWED\b|Expected ConnectionOpenOk; got <ConnectionClose/u, "NOT-ALLOWED"]
] as const

/** What is wrong and what to do about it, for people. Says nothing of AMQP_URL but host and port. */
export const explain = (error: AmqpError, { place }: Pick<Address, "place">): string => {
  const code = codeOf(error)
  switch (code) {
    case "ECONNREFUSED":
      return `Nothing listens at ${place}. Start RabbitMQ there, or mend AMQP_URL.`
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `The host of ${place} is not known. Mend AMQP_URL, or the name service.`
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return `There is no way to ${place}. Mend the network, or AMQP_URL.`
    case "ACCESS-REFUSED":
    case 403:
      return `RabbitMQ at ${place} refuses the user of AMQP_URL. Check name, password and permissions (all on partwright.*, write on amq.default).`
    case "NOT-ALLOWED":
    case 530:
      return `RabbitMQ at ${place} has no virtual host of the name in AMQP_URL, or does not let its user in. Make it with rabbitmqctl add_vhost and set_permissions, or mend AMQP_URL.`
    case 320:
      return `RabbitMQ at ${place} has closed the connection: it is being stopped, or an operator did that.`
    case 405:
    case 406:
      return `RabbitMQ at ${place} has a queue of ours with other properties. Delete the queue named in its log: jobs are not lost by that.`
  }
  if (typeof code === "string" && /CERT|TLS|SSL/u.test(code)) {
    return `The certificate of RabbitMQ at ${place} is not accepted (${code}). Mend it, or name its authority in NODE_EXTRA_CA_CERTS.`
  }
  if (error.message === "connect ETIMEDOUT" || error.message === "Heartbeat timeout" || error.message === silence) {
    return `RabbitMQ at ${place} does not answer. Look whether it runs, and for a firewall in between.`
  }
  return `The connection to RabbitMQ at ${place} broke${typeof code === "string" ? ` (${code})` : ""}. Its log may say why.`
}
