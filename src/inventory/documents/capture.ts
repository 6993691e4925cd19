import { type DefaultTreeAdapterTypes, parse } from "parse5"
import { Problem } from "#platform/http/problems.ts"
import { fileName } from "./document.ts"

export class LinkUnreachable extends Problem<LinkUnreachable>()("LinkUnreachable", {
  code: "link-unreachable",
  status: 422,
  title: "The address could not be read",
  help: "Nothing answered there in time, or with an error, or the address is not a public one. Check it in a browser; capture false keeps it unread."
}) {}

export class UnsupportedLinkContent extends Problem<UnsupportedLinkContent>()("UnsupportedLinkContent", {
  code: "unsupported-link-content",
  status: 422,
  title: "At this address is neither a page, nor a PDF, nor an image",
  help: "Pages are kept as links, PDFs and images as files. capture false keeps the address unread."
}) {}

/** What a page says of itself. Addresses are absolute. */
export interface PageFacts {
  readonly title: string | null
  /** Where its picture may be, best first. */
  readonly images: ReadonlyArray<string>
  /** The first frame that shows a PDF. */
  readonly pdfFrame: string | null
}

type Node = DefaultTreeAdapterTypes.Node
type Element = DefaultTreeAdapterTypes.Element

const isElement = (node: Node): node is Element => "tagName" in node

function* elements(node: Node): Generator<Element> {
  if (isElement(node)) yield node
  const children = "content" in node ? node.content.childNodes : "childNodes" in node ? node.childNodes : []
  for (const child of children) yield* elements(child)
}

const attribute = ({ attrs }: Element, name: string) => attrs.find((attr) => attr.name === name)?.value.trim() || null

const textOf = ({ childNodes }: Element) => childNodes.map((node) => ("value" in node ? node.value : "")).join("")

const firstLine = (text: string) =>
  text
    .split(/[\r\n]+/u)
    .map((line) => line.replaceAll(/[\p{Cc}\p{Cs}\s]+/gu, " ").trim())
    .find((line) => line !== "")

const shorten = (text: string) => {
  const characters = [...text]
  return characters.length > 200 ? `${characters.slice(0, 199).join("")}…` : text
}

/** Reads a page as browsers do (WHATWG HTML); `address` is where it was found, to which what it names is relative. */
export const factsOf = (html: string, address: string): PageFacts => {
  const all = [...elements(parse(html))]
  const base = all.flatMap((element) => (element.tagName === "base" ? (attribute(element, "href") ?? []) : []))[0]
  const root = URL.parse(base ?? "", address)?.href ?? address
  const absolute = (link: string | null | undefined) => {
    const url = link ? URL.parse(link, root) : null
    return url !== null && /^https?:$/u.test(url.protocol) ? [url.href] : []
  }
  const meta = (name: string) =>
    all
      .filter((element) => element.tagName === "meta" && [attribute(element, "property"), attribute(element, "name")].includes(name))
      .flatMap((element) => attribute(element, "content") ?? [])
  const icons = all.filter(
    (element) => element.tagName === "link" && /(^|\s)(apple-touch-)?icon(\s|$)/iu.test(attribute(element, "rel") ?? "")
  )
  const title = all.find((element) => element.tagName === "title" && element.namespaceURI === "http://www.w3.org/1999/xhtml")
  const said = (title && firstLine(textOf(title))) ?? meta("og:title").flatMap((text) => firstLine(text) ?? [])[0]
  const frames = all.filter((element) => element.tagName === "iframe").flatMap((element) => absolute(attribute(element, "src")))
  return {
    title: said === undefined ? null : shorten(said),
    images: [
      ...new Set(
        [...meta("og:image"), ...meta("twitter:image"), ...icons.map((icon) => attribute(icon, "href")), "/favicon.ico"].flatMap(absolute)
      )
    ].slice(0, 6),
    pdfFrame: frames.find(isPdfAddress) ?? null
  }
}

export const isPdfAddress = (address: string) => /\.pdf$/iu.test(URL.parse(address)?.pathname ?? "")

/** Whether bytes are a page, by how they begin; what begins like any text is believed to be what the server says. */
export const isPage = (beginning: Uint8Array, mediaType: string | null) => {
  const text = new TextDecoder("latin1")
    .decode(beginning.subarray(0, 2048))
    .replace(/^(\u00ef\u00bb\u00bf)?\s*(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)*/u, "")
  if (/^<(!doctype\s+html|html|head|body|title|meta|link|script|style|div|p)\b/iu.test(text)) return true
  return (
    /^(text\/html|application\/xhtml\+xml)$/u.test(mediaType ?? "") && !/^(%PDF|\u0089PNG|\u00ff\u00d8\u00ff|RIFF|<svg|GIF8|PK)/u.test(text)
  )
}

/** The text of a page, in the encoding that the header, else the page itself names, else UTF-8. */
export const pageText = (bytes: Uint8Array, charset: string | null) => {
  const beginning = new TextDecoder("latin1").decode(bytes.subarray(0, 4096))
  const named = charset ?? /<meta[^>]+charset\s*=\s*["']?([\w.:-]{1,40})/iu.exec(beginning)?.[1]
  try {
    return new TextDecoder(named ?? "utf-8").decode(bytes)
  } catch {
    return new TextDecoder().decode(bytes)
  }
}

/** The file name that a server gives (RFC 6266), else the last step of the address. */
export const nameFrom = (contentDisposition: string | null, address: string): string | null => {
  const extended = /filename\*\s*=\s*(?:utf-8|iso-8859-1)'[^']*'([^;]+)/iu.exec(contentDisposition ?? "")?.[1]
  const plain = /filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/iu.exec(contentDisposition ?? "")
  const last = URL.parse(address)?.pathname.split("/").at(-1)
  return fileName(decoded(extended?.trim()) ?? plain?.[1]?.replaceAll(/\\(.)/gu, "$1") ?? plain?.[2] ?? decoded(last) ?? "")
}

const decoded = (text: string | undefined) => {
  try {
    return text === undefined ? undefined : decodeURIComponent(text)
  } catch {
    return text
  }
}
