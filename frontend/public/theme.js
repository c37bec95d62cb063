// Runs before the first paint, so that the page never flashes in the other theme, and before all other scripts, so that the
// texts of the language to be shown travel beside them. The choice is made as in src/app/languages.ts.
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

  var known = document.querySelector('meta[name="weir:languages"]')
  var files = {}
  var pairs = known ? known.getAttribute('content').split(' ') : []
  for (var i = 0; i < pairs.length; i += 1) files[pairs[i].split('=')[0]] = pairs[i].split('=')[1]
  var wanted = []
  try {
    wanted.push(localStorage.getItem('weir:language'))
  } catch {
    // As above.
  }
  for (var tag of navigator.languages) wanted.push(tag.split('-')[0])
  wanted.push('en')
  var file =
    files[
      wanted.find(function (language) {
        return Object.hasOwn(files, language)
      })
    ]
  if (!file) return
  var link = document.createElement('link')
  link.rel = 'modulepreload'
  link.crossOrigin = ''
  link.fetchPriority = 'high'
  link.href = file
  document.head.append(link)
})()
