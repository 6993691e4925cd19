import { Effect, Layer } from "effect"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import { Api } from "#api.ts"
import { download } from "#platform/http/download.ts"
import { Proposals } from "./proposals.service.ts"

export const ProposalsHttp = HttpApiBuilder.group(
  Api,
  "proposals",
  Effect.fn(function* (handlers) {
    const proposals = yield* Proposals
    return handlers.handleAll({
      list: ({ query: { id4, kind, status, ...page } }) => proposals.list({ id4, kind, status }, page),
      get: ({ params }) => proposals.get(params.id),
      document: ({ params }) => Effect.flatMap(proposals.document(params.id, params.index), download),
      accept: ({ params, payload }) =>
        Effect.map(proposals.accept(params.id, payload), ({ created, proposal }) =>
          created ? HttpApiSchema.withHeaders({ body: proposal, headers: { location: `/api/parts/${proposal.partId4}` } }) : proposal
        ),
      reject: ({ params, payload }) => proposals.reject(params.id, payload.reason)
    })
  })
).pipe(Layer.provide(Proposals.layer))
