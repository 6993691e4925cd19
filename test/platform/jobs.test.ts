import { jobsSuite } from "../support/jobs-suite.ts"
import { embedded } from "../support/workers.ts"

jobsSuite("jobs", embedded)
