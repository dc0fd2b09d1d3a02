// AWS Signature Version 4 by WebCrypto, for the tasks API.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

const SERVICE = "execute-api";
const encoder = new TextEncoder();

/** The headers that sign this request; `url` is a URL, `body` a text. */
export async function sign({ method, url, headers = {}, body = "" }, credentials, region, at = new Date()) {
  const time = at.toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = `${time.slice(0, 8)}/${region}/${SERVICE}/aws4_request`;
  const sent = { ...headers, "X-Amz-Date": time, "X-Amz-Security-Token": credentials.token };
  const signed = Object.entries({ ...sent, host: url.host })
    .map(([name, value]) => [name.toLowerCase(), value.trim().replace(/ +/g, " ")])
    .sort(([one], [other]) => (one < other ? -1 : 1));
  const names = signed.map(([name]) => name).join(";");
  const canonical = [
    method, twice(url.pathname), sortedQuery(url.search), ...signed.map((one) => one.join(":")), "", names, await hash(body),
  ].join("\n");
  const text = ["AWS4-HMAC-SHA256", time, scope, await hash(canonical)].join("\n");
  let key = encoder.encode(`AWS4${credentials.secret}`);
  for (const part of scope.split("/")) key = await mac(key, part);
  const signature = hex(await mac(key, text));
  const authorization = `AWS4-HMAC-SHA256 Credential=${credentials.id}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
  return { ...sent, Authorization: authorization };
}

/** As SigV4 writes a text: what encodeURIComponent leaves, but for these five. */
export const encoded = (text) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (sign_) => `%${sign_.charCodeAt(0).toString(16).toUpperCase()}`);

/** Every service but S3 takes the path encoded once more than it is sent. */
const twice = (path) => path.split("/").map(encoded).join("/");

const sortedQuery = (search) => search.slice(1).split("&").filter(Boolean).sort().join("&");

const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const hash = async (text) => hex(await crypto.subtle.digest("SHA-256", encoder.encode(text)));

async function mac(key, text) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return crypto.subtle.sign("HMAC", imported, encoder.encode(text));
}
