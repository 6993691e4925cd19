import { Effect } from "effect"
import { objectFaults } from "../support/object-faults-suite.ts"

objectFaults("files", Effect.succeed({ S3_ENDPOINT: "" }), 4)
