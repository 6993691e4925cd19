import { jobWorkersSuite } from "../support/job-workers-suite.ts"
import { embedded } from "../support/workers.ts"

jobWorkersSuite(embedded)
