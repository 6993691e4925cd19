import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { rows, run, type Transaction } from "#platform/db/db.ts"
import { cellsOf, type ExportKind, exportColumns, severalTexts, textColumns } from "./export.ts"

const pageSize = 1000

const column = (name: string) => name.replaceAll(/[A-Z]/gu, (capital) => `_${capital.toLowerCase()}`)

const kicad = (key: string) => `p.kicad->>'${key}' as "kicad${key.charAt(0).toUpperCase()}${key.slice(1)}"`
const kicadFlag = (key: string) =>
  `case when (p.kicad->>'${key}')::boolean then 'true' end as "kicad${key.charAt(0).toUpperCase()}${key.slice(1)}"`

const numbersOfLink = `array(select n.number from seller_part_numbers n where n.link_id = k.id order by n.position) as "sellerPartNumbers"`

// Every cell as text, in an order that an index gives: the first rows must not wait for the last.
const selects: Record<ExportKind, string> = {
  parts: `
    select p.id4, p.description, t.name as type, ${textColumns.map((name) => `p.${column(name)} as "${name}"`).join(", ")},
      array(select g.tag from part_tags g where g.part_id4 = p.id4 order by g.position) as tags,
      p.product_page as "productPage", p.pin_count::text as "pinCount", p.min_quantity::text as "minQuantity",
      array(select c.barcode from part_barcodes c where c.part_id4 = p.id4 order by c.position) as barcodes,
      ${["symbol", "footprint", "reference", "value"].map(kicad).join(", ")},
      ${["excludeFromBom", "excludeFromBoard", "excludeFromSim"].map(kicadFlag).join(", ")},
      v.name as seller, k.link as "sellerLink", ${numbersOfLink},
      x.box_no::text as "boxNo", x.loc_no::text as "locNo", x.quantity::text, b.description as "boxDescription"
    from parts p left join part_types t on t.id = p.type_id
    left join seller_links k on k.part_id4 = p.id4 and k.is_primary left join sellers v on v.id = k.seller_id
    left join part_locations x on x.part_id4 = p.id4 left join boxes b on b.box_no = x.box_no
    order by p.id4, x.box_no, x.loc_no`,
  movements: `
    select m.id::text, m.operation_id::text as "operationId", iso(m.at) as at, o.kind, o.principal, o.note, o.undoes::text,
      m.part_id4 as id4, m.box_no::text as "boxNo", m.loc_no::text as "locNo", m.delta_qty::text as "deltaQty",
      m.balance_after::text as "balanceAfter"
    from stock_movements m join stock_operations o on o.id = m.operation_id order by m.id`,
  sellers: `
    select k.part_id4 as id4, p.manufacturer_code as "manufacturerCode", p.description, v.name as seller, v.website, k.link, ${numbersOfLink},
      k.is_primary::text as "primary"
    from seller_links k join parts p on p.id4 = k.part_id4 join sellers v on v.id = k.seller_id order by k.part_id4, k.seller_id`
}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  /**
   * A cursor of our own, because the driver's stream is one statement, which a client that reads slowly would let run into the
   * statement timeout. Each page is a statement; a client that takes nothing for a minute loses its transaction.
   */
  const cursor = (kind: ExportKind) => {
    const columnNames: ReadonlyArray<string> = exportColumns[kind]
    const decode = rows(
      Schema.Struct(
        Object.fromEntries(
          columnNames.map((name) => [name, severalTexts.has(name) ? Schema.Array(Schema.String) : Schema.NullOr(Schema.String)])
        )
      )
    )
    const page = Effect.map(decode(sql`fetch ${sql.literal(String(pageSize))} from ${sql(`export_${kind}`)}`), (found) => ({
      rows: found.map((row) => cellsOf(columnNames, row)),
      last: found.length < pageSize
    }))
    return {
      open: run(sql`declare ${sql(`export_${kind}`)} no scroll cursor for ${sql.literal(selects[kind])}`) as Effect.Effect<
        void,
        never,
        Transaction
      >,
      page: page as Effect.Effect<Effect.Success<typeof page>, never, Transaction>
    }
  }

  return { parts: cursor("parts"), movements: cursor("movements"), sellers: cursor("sellers") }
})

export class ExportRepo extends Context.Service<ExportRepo, Effect.Success<typeof make>>()("inventory/ExportRepo") {
  static readonly layer = Layer.effect(ExportRepo, make)
}
