// Which dropped files make a video: the rules of the inbox (README, “Drop files”).

const VOICES = new Set("mp3 wav m4a aac ogg oga opus flac".split(" "));
const FACES = new Set("jpg jpeg png webp gif bmp heic avif tif tiff".split(" "));
const TYPES = {
  mp3: "audio/mpeg", wav: "audio/wav", m4a: "audio/mp4", aac: "audio/aac", ogg: "audio/ogg", oga: "audio/ogg",
  opus: "audio/ogg", flac: "audio/flac", jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", webp: "image/webp",
  gif: "image/gif", bmp: "image/bmp", heic: "image/heic", avif: "image/avif", tif: "image/tiff", tiff: "image/tiff",
};

export const typeOf = (path) => TYPES[extension(path)];
export const kindOf = (path) => (VOICES.has(extension(path)) ? "voice" : FACES.has(extension(path)) ? "face" : "");

const extension = (path) => path.slice(path.lastIndexOf(".") + 1).toLowerCase();
const folderOf = (path) => path.slice(0, path.lastIndexOf("/") + 1);
export const stemOf = (path) => path.slice(folderOf(path).length).replace(/\.[^.]*$/, "");

/** Every file of a drop or an input, folders walked: `{path, file}`. */
export async function filesOf(transfer) {
  if (!transfer.items) return [...transfer.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  const entries = [...transfer.items].map((one) => one.webkitGetAsEntry?.()).filter(Boolean);
  return (await Promise.all(entries.map((entry) => walk(entry, "")))).flat();
}

async function walk(entry, below) {
  if (entry.name.startsWith(".")) return [];
  const path = below + entry.name;
  if (entry.isFile) return [{ path, file: await new Promise((done, failed) => entry.file(done, failed)) }];
  const reader = entry.createReader();
  const found = [];
  for (;;) { // a reader answers at most a hundred at a time
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map((one) => walk(one, `${path}/`)))).flat();
}

/** The videos that these files make, and what is missing: `{videos, left}`. */
export async function pair(files) {
  const byPath = new Map(files.map((one) => [one.path, one.file]));
  const faces = files.filter((one) => kindOf(one.path) === "face");
  const used = new Set();
  const videos = [];
  const left = [];
  for (const { path, file } of files.filter((one) => kindOf(one.path) === "voice")) {
    const face = faceOf(path, faces);
    if (!face) {
      left.push(`${path} has no portrait: add ${stemOf(path)}.png or portrait.png`);
      continue;
    }
    used.add(face.path);
    const base = folderOf(path) + stemOf(path);
    const settings = { ...(await settingsOf(byPath, `${folderOf(path)}settings.json`, left)), ...(await settingsOf(byPath, `${base}.json`, left)) };
    const prompt = byPath.has(`${base}.txt`) ? (await byPath.get(`${base}.txt`).text()).trim() : settings.prompt || "";
    videos.push({ path, voice: file, face: face.file, facePath: face.path, folder: folderOf(path).replace(/\/$/, ""), prompt, settings });
  }
  left.push(...faces.filter((one) => !used.has(one.path)).map((one) => `${one.path} has no voice: add ${stemOf(one.path)}.mp3`));
  left.push(...files.filter((one) => !kindOf(one.path) && !/\.(txt|json)$/i.test(one.path)).map((one) => `${one.path} is neither a picture nor a sound`));
  return { videos, left };
}

/** The picture of the same name, else the folder's portrait, else the only picture there is. */
function faceOf(path, faces) {
  const here = faces.filter((one) => folderOf(one.path) === folderOf(path));
  return here.find((one) => stemOf(one.path) === stemOf(path))
    || here.find((one) => stemOf(one.path).toLowerCase() === "portrait")
    || (here.length === 1 ? here[0] : faces.length === 1 ? faces[0] : null);
}

async function settingsOf(byPath, path, left) {
  if (!byPath.has(path)) return {};
  try {
    const found = JSON.parse(await byPath.get(path).text());
    if (found && typeof found === "object" && !Array.isArray(found)) return found;
  } catch {
    // said below
  }
  left.push(`${path} is no JSON object and was left out`);
  return {};
}
