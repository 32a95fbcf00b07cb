/** Asks the supplier how many pieces it has; asks once more after `pauseMs` when that fails. */
export async function askSupplier(url: string, sku: string, pauseMs = 100): Promise<number> {
  try {
    return await ask(url, sku)
  } catch {
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    return ask(url, sku)
  }
}

async function ask(url: string, sku: string): Promise<number> {
  const answer = await fetch(`${url}/stock/${sku}`)
  if (!answer.ok) throw new Error(`the supplier said ${answer.status}`)
  const { free } = (await answer.json()) as { free: number }
  return free
}
