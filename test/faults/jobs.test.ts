import { killedJobsSuite } from "../support/killed-jobs-suite.ts"
import { embedded } from "../support/workers.ts"

killedJobsSuite({ engine: embedded })
