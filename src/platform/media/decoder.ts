// A process of its own that reads the files of strangers, one question at a time. It can be killed at any moment: native code
// that draws cannot be stopped in any other way, and a fault in it would take the whole server along.
import { access, stat } from "node:fs/promises"
import { constants, setPriority } from "node:os"
import { Worker } from "node:worker_threads"
import { type Answers, type Question, Refusal, type Reply } from "./decoding.ts"
import { iconAt, sniff } from "./sniff.ts"

const inspect = async (path: string, size: number): Promise<Answers["inspect"]> => {
  const mediaType = await sniff(path, size)
  if (mediaType === "application/pdf") {
    const { inspectPdf } = await import("./pdf.ts")
    return { kind: "pdf", mediaType, width: null, height: null, pageCount: await inspectPdf(path) }
  }
  const { inspectImage } = await import("./image.ts")
  const { height, width } = await inspectImage(path, mediaType)
  return { kind: "image", mediaType, width, height, pageCount: null }
}

const thumbnail = async (question: Extract<Question, { ask: "thumbnail" }>) => {
  const { format, mediaType, path, size } = question
  if (mediaType === "application/pdf") return (await import("./pdf.ts")).thumbnailOfPdf(path, size, format)
  return (await import("./image.ts")).thumbnailOfImage(path, mediaType, size, format)
}

const preview = async (path: string, size: number) => {
  const image = await import("./image.ts")
  const icon = await iconAt(path)
  if (icon !== undefined) return image.thumbnailOfIcon(icon, size, "webp")
  const mediaType = await sniff(path, (await stat(path)).size)
  if (mediaType === "application/pdf") throw new Refusal("unsupported", "A PDF is no preview image.")
  await image.inspectImage(path, mediaType)
  return image.thumbnailOfImage(path, mediaType, size, "webp")
}

const answer = async (question: Question): Promise<Answers[Question["ask"]]> => {
  await access(question.path)
  switch (question.ask) {
    case "inspect":
      return inspect(question.path, question.size)
    case "thumbnail":
      return thumbnail(question)
    case "preview":
      return preview(question.path, question.size)
    case "text":
      return (await import("./pdf.ts")).textOfPdf(question.path, question.pages, question.bytes)
  }
}

const replyTo = async (question: Question): Promise<Reply> => {
  try {
    return { reply: "answer", answer: await answer(question), memory: process.memoryUsage.rss() }
  } catch (cause) {
    const memory = process.memoryUsage.rss()
    if (cause instanceof Refusal) return { reply: "refusal", because: cause.because, detail: cause.message, memory }
    return { reply: "fault", stack: (cause instanceof Error && cause.stack) || String(cause), memory }
  }
}

process.on("message", (question: Question) => {
  replyTo(question).then((reply) => process.send?.(reply))
})

// A signal to the whole group, as a terminal sends it, is for the server: what it still has under way may finish.
process.on("SIGINT", () => {})
process.on("SIGTERM", () => {})
// Not by exit, which ends the watchdog and then waits for what native threads are at.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"))

new Worker(new URL("./watchdog.ts", import.meta.url), { workerData: Number(process.argv[2]) }).unref()

try {
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
} catch {
  // Not every system lets a process be modest.
}
