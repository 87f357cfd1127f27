// What a test asks of a page of `bench report` in a browser. An object of functions; each gives what is wrong, or data.
({
  // Of each plot: its title, and of each of its lines how many distinct marks and points it has.
  data: () => [...document.querySelectorAll('figure')].map(figure => [
    figure.querySelector('h3').textContent,
    [...figure.querySelectorAll('[id*="-data-"]')].map(line => {
      const marks = [...line.querySelectorAll('use')].map(mark => `${mark.getAttribute('x')} ${mark.getAttribute('y')}`)
      const paths = [...line.querySelectorAll(':scope > path')].flatMap(path => path.getAttribute('d').match(/[-\d.]+ [-\d.]+/g))
      const drawn = line.getBoundingClientRect()
      return {marks: new Set(marks).size, points: new Set(paths).size, side: Math.max(drawn.width, drawn.height)}
    }),
  ]),

  // Texts of plots that leave their figure, cross the edge of the plot's area or lie on another text.
  clipped: () => [...document.querySelectorAll('figure')].flatMap(figure => {
    const around = figure.getBoundingClientRect()
    const area = figure.querySelector('[id$="-patch_2"]').getBoundingClientRect()
    const texts = [...figure.querySelectorAll('svg text')].map(text => ({text: text.textContent, box: text.getBoundingClientRect()}))
    const meets = (one, other) => one.left < other.right - 1 && other.left < one.right - 1
      && one.top < other.bottom - 2 && other.top < one.bottom - 2
    const within = (one, other) => one.left >= other.left - 1 && one.right <= other.right + 1
      && one.top >= other.top - 1 && one.bottom <= other.bottom + 1
    return texts.flatMap(({text, box}, place) => [
      ...(within(box, around) && box.width > 0 ? [] : [`beyond the figure: ${text}`]),
      ...(meets(box, area) && !within(box, area) ? [`over the edge of the plot: ${text}`] : []),
      ...texts.slice(place + 1).filter(other => meets(box, other.box)).map(other => `${text} lies on ${other.text}`),
    ])
  }),

  // Elements whose content is wider than they are; tables are in regions that scroll.
  overflowing: () => [document.documentElement, ...document.querySelectorAll('body *')]
    .filter(one => !one.closest('.scroll') && !one.closest('svg') && one.clientWidth && one.scrollWidth > one.clientWidth)
    .map(one => `${one.tagName} ${one.scrollWidth} > ${one.clientWidth}: ${one.textContent.slice(0, 60)}`),

  // Plots and regions without a name, tables without heads.
  unnamed: () => [
    ...[...document.querySelectorAll('svg[role=img], [role=region], [role=note], nav')].filter(one =>
      !one.getAttribute('aria-label') && !document.getElementById(one.getAttribute('aria-labelledby'))?.textContent),
    ...[...document.querySelectorAll('table')].filter(one => !one.querySelector('th[scope]')),
  ].map(one => one.outerHTML.slice(0, 80)),

  // Colours of text and lines that are too near to the ground (WCAG AA: 4.5).
  faint: () => {
    const probe = document.body.appendChild(document.createElement('i'))
    const light = name => {
      probe.style.color = `var(--${name})`
      const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g).map(part => part / 255)
        .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
      return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05
    }
    const names = ['ink', 'muted', 'bad', 'link', 'published', ...[1, 2, 3, 4, 5, 6, 7, 8].map(place => `series-${place}`)]
    const ratio = (one, other) => Math.max(one / other, other / one)
    const found = names.filter(name => ratio(light(name), light('surface')) < 4.5)
    probe.remove()
    return found
  },
})
