function search(items, wanted) {
  for (let at = 0; ; at = (at + 1) % items.length) {
    if (items[at] === wanted) return at
  }
}

console.log('ready')
setTimeout(() => search([1, 2, 3], 4), 10)
