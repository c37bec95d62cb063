// Runs before the first paint, so that the page never flashes in the other theme.
;(function () {
  var root = document.documentElement
  var chosen = null
  try {
    chosen = localStorage.getItem('weir:theme')
  } catch {
    // Storage may be forbidden; the system's theme is then all there is.
  }
  var light = chosen === 'light' || (chosen !== 'dark' && matchMedia('(prefers-color-scheme: light)').matches)
  root.dataset.theme = light ? 'light' : 'dark'
  var bar = document.querySelector('meta[name="theme-color"]')
  if (bar) bar.setAttribute('content', light ? '#f7fbfc' : '#081118')
})()
