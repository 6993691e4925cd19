import { Worker } from "node:worker_threads"
import { Effect } from "effect"
import { JobFailure } from "./job-kind.ts"

/**
 * The first message of a thread that computes beside the event loop. However the thread ends without one (an error, too much memory, an
 * exit), the job fails and may be tried again; interrupted, the thread is ended.
 */
export const inThread = <A>(program: URL, data: unknown, limits: { readonly memoryMb: number }) =>
  Effect.callback<A, JobFailure>((resume) => {
    const thread = new Worker(program, { workerData: data, resourceLimits: { maxOldGenerationSizeMb: limits.memoryMb } })
    const broken = (why: string) =>
      resume(Effect.fail(new JobFailure({ code: "thread-broken", detail: `The thread that computes ended: ${why}.`, retryable: true })))
    thread.once("message", (answer: A) => resume(Effect.succeed(answer)))
    thread.once("error", (error: NodeJS.ErrnoException) =>
      broken(error.code === "ERR_WORKER_OUT_OF_MEMORY" ? `it took more than ${limits.memoryMb} MiB` : "its program failed")
    )
    thread.once("exit", () => broken("without an answer"))
    return Effect.promise(() => thread.terminate())
  })
