import { jobWorkersSuite } from "../support/job-workers-suite.ts"
import { onVirtualHost } from "./broker.ts"

jobWorkersSuite(onVirtualHost("job-workers"))
