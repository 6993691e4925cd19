import { Effect, Schedule } from "effect"
import { Http } from "./world.ts"

/** The job as the API tells it. */
export const jobNow = (id: string) => Http.use(({ send }) => Effect.map(send("GET", `/api/jobs/${id}`), ({ body }) => body))

/** Waits until the job is as wanted. */
export const untilJob = (id: string, is: (job: Record<string, unknown>) => boolean) =>
  jobNow(id).pipe(Effect.repeat({ until: is, schedule: Schedule.spaced("10 millis") }))

/** Waits for the end of the job. */
export const jobEnded = (id: string) => untilJob(id, ({ state }) => state === "succeeded" || state === "failed" || state === "cancelled")
