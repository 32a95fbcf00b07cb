// What the benchmarks of the runtime call; plain JavaScript, so that no loader is part of what is measured.
export async function echo(value) {
  return value
}
