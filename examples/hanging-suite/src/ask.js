// The command-line client: node src/ask.js <url> <sku>
const [url, sku] = process.argv.slice(2)
const answer = await fetch(`${url}/stock/${sku}`, { signal: AbortSignal.timeout(40_000) })
console.log((await answer.json()).free)
