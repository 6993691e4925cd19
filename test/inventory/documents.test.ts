import { documentsSuite } from "../support/documents-suite.ts"
import { world } from "../support/world.ts"

documentsSuite("documents in files", world)
