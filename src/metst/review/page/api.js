/** Requests to the server that served this page: JSON, numbers, pictures, files. */

/** The server answered, and said no. */
export class Refused extends Error {
  constructor(status, detail, body) {
    super(detail);
    this.status = status;
    this.body = body;
  }
}

/** Nobody answered. */
export class Unreachable extends Error {
  constructor() {
    super("the server does not answer; is `metst review` still running?");
  }
}

async function refusal(answer) {
  let body = {};
  try {
    body = await answer.json();
  } catch {
    // no JSON: the status alone has to do
  }
  const detail = typeof body.detail === "string" ? body.detail : `the server answered ${answer.status}`;
  return new Refused(
    answer.status,
    answer.status === 401 ? "the address has no valid token; open the one that metst review printed" : detail,
    body,
  );
}

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Unreachable();
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

/** What an answer holds; it may still break off while it is read. */
async function read(answer, kind) {
  try {
    return await answer[kind]();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Unreachable();
  }
}

export async function get(path, signal) {
  return read(await request(path, { signal }), "json");
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return read(await request(path, { method: "POST", headers, body: JSON.stringify(body ?? {}) }), "json");
}

export async function remove(path) {
  await request(path, { method: "DELETE" });
}

/** One value per frame; times are float64, all else float32. */
export async function getSeries(rid, name) {
  const path = `/api/recordings/${rid}/series/${name.split("/").map(encodeURIComponent).join("/")}`;
  const bytes = await read(await request(path), "arrayBuffer");
  return name === "time_s" ? new Float64Array(bytes) : new Float32Array(bytes);
}

/** A picture, and the frame that the server says it is. */
export async function getPicture(path, signal) {
  const answer = await request(path, { signal, cache: "default" });
  const blob = await read(answer, "blob");
  const number = (name) => Number(answer.headers.get(name));
  return { blob, frame: number("X-Frame"), time_s: number("X-Time-S"), magnified: number("X-Magnified") };
}

/** Sends a file as it is; ``onShare`` is told which share of it is sent. */
export function putFile(path, file, onShare) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest(); // fetch does not tell how far an upload is
    sending.open("PUT", path);
    sending.upload.onprogress = (event) => event.lengthComputable && onShare(event.loaded / event.total);
    sending.onerror = () => reject(new Unreachable());
    sending.onload = () => {
      let body = {};
      try {
        body = JSON.parse(sending.responseText);
      } catch {
        // said below
      }
      if (sending.status < 300) resolve(body);
      else reject(new Refused(sending.status, body.detail ?? `the server answered ${sending.status}`, body));
    };
    sending.send(file);
  });
}

/** A new name for an edit: sent twice under one name, it is applied once. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID is missing where the page is not on loopback
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
