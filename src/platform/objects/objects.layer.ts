import { Layer } from "effect"
import { layer as Store } from "./object-store.layer.ts"
import { ObjectsMetrics } from "./objects.metrics.ts"
import { ObjectsRepo } from "./objects.repo.ts"
import { Objects } from "./objects.service.ts"
import { Spool } from "./spool.ts"
import { SweeperJobs } from "./sweeper.jobs.ts"
import { Sweeper } from "./sweeper.service.ts"

/** Files that rows refer to, in the store that the configuration names. */
export const ObjectsLayer = Objects.layerNoDeps.pipe(Layer.provide([ObjectsRepo.layer, Spool.layer, Store]))

/** What looks after the store. */
export const ObjectsMaintenance = Sweeper.layerNoDeps.pipe(Layer.provide([ObjectsRepo.layer, Store]))

export const SweeperJobsLayer = SweeperJobs.pipe(Layer.provide(ObjectsMaintenance))

export const ObjectsMetricsLayer = ObjectsMetrics.pipe(Layer.provide(ObjectsRepo.layer))
