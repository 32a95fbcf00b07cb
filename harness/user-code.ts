/** Which scripts are the user's own. */

/** Folder of harrow's own code, in the package or in the checkout, as a path with a slash at the end. */
const OWN = decodeURI(new URL('../', import.meta.url).pathname)
const OWN_FOLDERS = ['src/', 'harness/', 'reporters/', 'scripts/'].map((folder) => OWN + folder)

/** True for the user's code: a file outside `node_modules`, Node's own modules and harrow. */
export function isUserScript(url: string): boolean {
  if (url === '' || url.startsWith('node:') || url.startsWith('evalmachine') || url.startsWith('virtual:')) return false
  const path = url.startsWith('file://') ? decodePath(url.slice(7)) : url
  if (!path.startsWith('/') && !/^[A-Za-z]:[\\/]/.test(path)) return false
  if (path.includes('/node_modules/') || path.includes('\\node_modules\\')) return false
  return !isOwnScript(path)
}

/** True for a file of harrow's. */
export function isOwnScript(path: string): boolean {
  return OWN_FOLDERS.some((folder) => path.startsWith(folder))
}

function decodePath(path: string): string {
  try {
    return decodeURI(path)
  } catch {
    return path
  }
}
