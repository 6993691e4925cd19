import { assert, describe, it } from "@effect/vitest"
import { factsOf, isPage } from "#inventory/documents/capture.ts"

const titleIn = (html: string) => factsOf(html, "https://shop.example/a/b").title
const imagesIn = (html: string) => factsOf(html, "https://shop.example/a/b").images.slice(0, -1)

describe("a page", () => {
  it("has the title that a browser shows", () => {
    for (const [html, title] of [
      ["<title>One</title><title>Two</title>", "One"],
      ["<TITLE lang=en>Ohm &Omega; &#39;x&#39; &amp;lt;</TITLE>", "Ohm Ω 'x' &lt;"],
      ["<title>Not <b>bold</b> <!-- here --></title>", "Not <b>bold</b> <!-- here -->"],
      ["<title/>Open</title>", "Open"],
      ["<title>Never closed", "Never closed"],
      ["<svg><title>Drawing</title><style/></svg><title>Page</title>", "Page"],
      ["<math><title>Sum</title></math><svg/><svg><title>x</title></svg><title>Page</title>", "Page"],
      ["<script>'<title>Script</title>'</script><!-- <title>Comment</title> --><title>Page</title>", "Page"],
      ["<textarea><title>Typed</title></textarea><style><title>Style</title></style><title>Page</title>", "Page"],
      ["<title> \n </title><meta property=og:title content='Card\nsecond line'>", "Card"],
      ["<title>a\u0000b\u0007c</title>", "a\ufffdb c"],
      ["</title><p>Nothing", null]
    ] as const)
      assert.strictEqual(titleIn(html), title, html)
  })

  it("names its pictures, best first, each once, and only those on the web", () => {
    assert.deepStrictEqual(
      imagesIn(`<link rel="shortcut icon" href="/i.ico"><meta name=twitter:image content=" t.png "><base href="//cdn.example/x/"><base href="/y/">
        <meta property=og:image content=o.png><META CONTENT="o.png" PROPERTY="og:image"><meta property=og:image content="data:image/png;base64,AA">
        <link rel=stylesheet href=s.css><link rel=icon href=""><link rel=apple-touch-icon href=javascript:1>`),
      ["https://cdn.example/x/o.png", "https://cdn.example/x/t.png", "https://cdn.example/i.ico"]
    )
    assert.deepStrictEqual(imagesIn("<noscript><meta property=og:image content=n.png></noscript><!--<link rel=icon href=c.png>-->"), [])
    assert.deepStrictEqual(imagesIn("<base href='data:text/html,x'><link rel=icon href=i.png>"), [])
  })

  it("is none when its bytes are those of a file, whatever the server calls them", () => {
    for (const start of ["%PDF-1.7", "\u0089PNG\r\n", "\u00ff\u00d8\u00ff\u00e0", "RIFF", "PK\u0003\u0004", "GIF89a"])
      assert.isFalse(isPage(Buffer.from(start, "latin1"), "text/html"), start)
    assert.isTrue(isPage(Buffer.from("Just words"), "text/html"))
    assert.isTrue(isPage(Buffer.from("\u00ef\u00bb\u00bf <!-- a --> <!DOCTYPE html>", "latin1"), "application/pdf"))
    assert.isFalse(isPage(Buffer.from("Just words"), "text/plain"))
  })
})
