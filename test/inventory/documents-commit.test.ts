import { commitSuite } from "../support/documents-commit-suite.ts"
import { severableWorld } from "../support/severable.ts"

commitSuite("documents in files", severableWorld)
