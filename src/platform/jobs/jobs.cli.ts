import { Console, Duration, Effect, Layer, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { onApplication } from "../../command.ts"
import { AppConfig } from "../config.ts"
import { wholeNumber } from "../system/flags.ts"
import { signalled } from "../system/signals.ts"
import { type Job, jobStates } from "./job.ts"
import { QueueLayer } from "./jobs.layer.ts"
import { Jobs } from "./jobs.service.ts"
import { jobsShareOfGrace, Runner } from "./runner.ts"

const json = Flag.Boolean("json").pipe(Flag.withDefault(false), Flag.withDescription("Print JSON"))
const id = Argument.String("id")

const line = (job: Job) =>
  [job.id, job.kind, job.state, `${job.progress} %`, `attempt ${job.attempt}/${job.maxAttempts}`, job.error?.detail ?? job.message ?? ""]
    .join("  ")
    .trimEnd()

const print = (job: Job, asJson: boolean) => Console.log(asJson ? JSON.stringify(job, null, 2) : line(job))

const list = Command.make(
  "list",
  {
    state: Flag.Literals("state", jobStates).pipe(Flag.optional, Flag.withDescription("Only those in this state")),
    kind: Flag.String("kind").pipe(Flag.optional, Flag.withDescription("Only those of this kind")),
    limit: wholeNumber("limit", 1, 10_000, 50, "At most so many, the newest"),
    json
  },
  ({ json, kind, limit, state }) =>
    Effect.gen(function* () {
      const filter = { state: Option.getOrUndefined(state), kind: Option.getOrUndefined(kind) }
      const jobs = yield* Jobs
      const items: Array<Job> = []
      for (let cursor: string | null | undefined; items.length < limit && cursor !== null; ) {
        const page = yield* jobs.list(filter, { limit: Math.min(limit - items.length, 200), cursor })
        items.push(...page.items)
        cursor = page.nextCursor
      }
      if (json) yield* Console.log(JSON.stringify(items, null, 2))
      else yield* Effect.forEach(items, (job) => Console.log(line(job)), { discard: true })
    }).pipe(onApplication(Layer.empty))
).pipe(Command.withDescription("Jobs, newest first"))

const show = Command.make("show", { id, json }, ({ id, json }) =>
  Effect.flatMap(
    Jobs.use((jobs) => jobs.get(id)),
    (job) => print(job, json)
  ).pipe(onApplication(Layer.empty))
).pipe(Command.withDescription("One job"))

const cancel = Command.make("cancel", { id, json }, ({ id, json }) =>
  Effect.flatMap(
    Jobs.use((jobs) => jobs.cancel(id)),
    (job) => print(job, json)
  ).pipe(onApplication(Layer.empty))
).pipe(Command.withDescription("Cancel a job that is queued or running"))

const retry = Command.make("retry", { id, json }, ({ id, json }) =>
  Effect.flatMap(
    Jobs.use((jobs) => jobs.retry(id)),
    (job) => print(job, json)
  ).pipe(onApplication(Layer.empty))
).pipe(Command.withDescription("Try a failed job again"))

const runOnce = <E, R>(work: Layer.Layer<Runner, E, R>) =>
  Command.make("run-once", {}, () =>
    Effect.gen(function* () {
      const signal = yield* signalled
      yield* Effect.gen(function* () {
        const { idle, settled, stop } = yield* Runner
        const { shutdownGrace } = yield* AppConfig
        const reason = yield* Effect.raceFirst(Effect.as(idle, undefined), signal)
        if (reason !== undefined) yield* stop(Duration.times(shutdownGrace, jobsShareOfGrace))
        yield* Console.log(`${settled()} attempts ended${reason === undefined ? "" : `; stopped by ${reason}`}`)
      }).pipe(onApplication(work.pipe(Layer.provideMerge(QueueLayer))))
    })
  ).pipe(Command.withDescription("Do all jobs that are due, beside whoever else works, then end"))

/** `work` is what runs jobs here: every feature's. */
export const jobs = <E, R>(work: Layer.Layer<Runner, E, R>) =>
  Command.make("jobs").pipe(
    Command.withDescription("What was asked for and how far it is"),
    Command.withSubcommands([list, show, cancel, retry, runOnce(work)])
  )
