import { createServer } from "node:http"
import { Pool } from "pg"

// The yardstick: the least that answers GET /api/parts/{id4} with the same query and the same body. It reads the query of the
// product from its own log of statements, so that both do the same work in the database.
const [host = "", database = "", user = "", text = ""] = process.argv.slice(2)
const pool = new Pool({ host, database, user, port: 5432, max: 10 })

const server = createServer(async (request, response) => {
  const id4 = request.url?.slice("/api/parts/".length).toUpperCase() ?? ""
  const { rows } = await pool.query({ name: "part", text, values: [id4] })
  const body = JSON.stringify(rows[0])
  response.writeHead(rows.length === 0 ? 404 : 200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
  response.end(body)
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  console.log(`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`)
})
process.on("SIGTERM", () => process.exit(0))
