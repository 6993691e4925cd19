import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Data, Duration, Effect, Exit, Semaphore } from "effect"
import { type Answers, outOfMemory, type Question, Refusal, type Reply } from "./decoding.ts"
import { DecodersBusy } from "./media.ts"

export interface Limits {
  /** How many files are decoded at the same time. */
  readonly parallel: number
  /** For a free process, before it dies with `DecodersBusy`. */
  readonly wait: Duration.Input
  /** From the question to the answer. */
  readonly time: Duration.Input
  /** Resident memory of one process in bytes. */
  readonly memory: number
  /** How long a process without work is kept. */
  readonly idle: Duration.Input
}

class TookTooLong extends Data.TaggedError("TookTooLong") {}
class TookTooMuchMemory extends Data.TaggedError("TookTooMuchMemory") {}
/** Killed by the system, or by a fault in native code. */
class Crashed extends Data.TaggedError("Crashed")<{ readonly signal: string; readonly said: string }> {}

const program = fileURLToPath(new URL("./decoder.ts", import.meta.url))

// Reading files is all that its JavaScript may do.
const permissions = ["--permission", "--allow-fs-read=*", "--allow-addons", "--allow-worker", "--disable-warning=SecurityWarning"]
const memoryOptions = ["--max-semi-space-size=8", "--max-old-space-size=512"]

/** A process that has grown beyond this is not kept for the next file. */
const keptBelow = 256 * 2 ** 20

const start = (memory: number) => {
  const child = fork(program, [String(memory)], {
    // Nothing of the server's environment: there are passwords in it.
    env: {},
    execArgv: [...permissions, ...memoryOptions],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "pipe", "ipc"]
  })
  const decoder = { child, said: "", ended: Promise.resolve(), rest: undefined as NodeJS.Timeout | undefined }
  decoder.ended = new Promise((resolve) => {
    child.once("close", () => resolve())
    // It could not be started at all.
    child.on("error", (cause) => {
      decoder.said += String(cause)
      resolve()
    })
  })
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    decoder.said = (decoder.said + text).slice(-2000)
  })
  return decoder
}
type Decoder = ReturnType<typeof start>

const kill = ({ child, ended, rest }: Decoder) => {
  clearTimeout(rest)
  child.kill("SIGKILL")
  return ended
}

const ask = (decoder: Decoder, question: Question) =>
  Effect.callback<Reply, TookTooMuchMemory | Crashed>((resume) => {
    const { child, ended } = decoder
    const replied = (reply: unknown) => resume(Effect.succeed(reply as Reply))
    child.once("message", replied)
    ended.then(() => {
      const { said } = decoder
      const signal = child.signalCode
      if (said.includes(outOfMemory) || said.includes("heap out of memory")) resume(Effect.fail(new TookTooMuchMemory()))
      else if (signal !== null) resume(Effect.fail(new Crashed({ signal, said })))
      else resume(Effect.die(new Error(`The decoding process ended by itself with code ${child.exitCode}: ${said}`)))
    })
    // A message that cannot be sent any more meets the end of the process, which is told above.
    child.send(question, () => {})
    return Effect.sync(() => child.off("message", replied))
  })

/** Processes that decode files: started when there is work, kept for a while, never more than `parallel`. */
export const makeDecoders = Effect.fnUntraced(function* (limits: Limits) {
  const free: Array<Decoder> = []
  const alive = new Set<Decoder>()
  const permits = yield* Semaphore.make(limits.parallel)
  yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all(Array.from(alive, kill))))

  const setAside = (decoder: Decoder) => {
    const index = free.indexOf(decoder)
    if (index !== -1) free.splice(index, 1)
  }

  const take = Effect.sync(() => {
    const rested = free.pop()
    if (rested !== undefined) {
      clearTimeout(rested.rest)
      return rested
    }
    const decoder = start(limits.memory)
    alive.add(decoder)
    decoder.ended.then(() => {
      alive.delete(decoder)
      setAside(decoder)
    })
    return decoder
  })

  // After an interruption or the time limit a process is still at work, perhaps for ever.
  const giveBack = (decoder: Decoder, exit: Exit.Exit<Reply, unknown>) =>
    Exit.isSuccess(exit) && exit.value.memory < keptBelow && alive.has(decoder)
      ? Effect.sync(() => {
          decoder.rest = setTimeout(() => {
            setAside(decoder)
            kill(decoder)
          }, Duration.toMillis(limits.idle)).unref()
          free.push(decoder)
        })
      : Effect.promise(() => kill(decoder))

  /** Whoever has waited so long makes room for others by going away. */
  const waitingIn =
    (turns: Semaphore.Semaphore) =>
    <A, E>(work: Effect.Effect<A, E>) =>
      Effect.acquireUseRelease(
        Effect.timeoutOrElse(turns.take(1), {
          duration: limits.wait,
          orElse: () =>
            Effect.die(new DecodersBusy({ detail: "The programs that read files have been busy for too long. Try again in a moment." }))
        }),
        () => work,
        () => turns.release(1)
      )

  const once = (question: Question) =>
    Effect.acquireUseRelease(
      take,
      (decoder) =>
        ask(decoder, question).pipe(Effect.timeoutOrElse({ duration: limits.time, orElse: () => Effect.fail(new TookTooLong()) })),
      giveBack
    ).pipe(waitingIn(permits))

  const answer = <Q extends Question>(question: Q): Effect.Effect<Answers[Q["ask"]], Refusal> =>
    once(question).pipe(
      Effect.tapErrorTag("Crashed", ({ said, signal }) => Effect.logWarning(`Decoding a file ended with ${signal}`, { said })),
      // Once more: it may have been an innocent victim of a system short of memory.
      Effect.retry({ times: 1, while: (error) => error._tag === "Crashed" }),
      Effect.catchTags({
        TookTooLong: () => refuse(`Reading the file takes longer than ${Duration.format(Duration.fromInputUnsafe(limits.time))}.`),
        TookTooMuchMemory: () => refuse("Reading the file takes more memory than one file may have."),
        Crashed: () => refuse("The program that reads such files breaks on this one.")
      }),
      Effect.flatMap((reply): Effect.Effect<Answers[Q["ask"]], Refusal> => {
        if (reply.reply === "fault") return Effect.die(new Error(reply.stack))
        if (reply.reply === "refusal") return Effect.fail(new Refusal(reply.because, reply.detail))
        return Effect.succeed(reply.answer as Answers[Q["ask"]])
      })
    )

  return { answer, count: Effect.sync(() => alive.size) }
})

const refuse = (detail: string) => Effect.fail(new Refusal("unreadable", detail))
