import { jobsSuite } from "../support/jobs-suite.ts"
import { onVirtualHost } from "./broker.ts"

jobsSuite("jobs by way of RabbitMQ", onVirtualHost("jobs"))
