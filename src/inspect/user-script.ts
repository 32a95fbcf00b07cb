/** True for a script that looks like the user's: not Node's own, not below `node_modules`, not without a name. */
export function isUserScript(url: string): boolean {
  return url !== '' && !/^(node|evalmachine|eval|wasm):?/.test(url) && !/[\\/]node_modules[\\/]/.test(url)
}
