// Asks one thing again and again. A page is not told by which protocol it was answered on another origin; the server is.
export default async function ({ url, times }) {
  const statuses = [];
  for (let asked = 0; asked < times; asked++) {
    const response = await fetch(url, { cache: "no-store" });
    await response.text();
    statuses.push(response.status);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return statuses;
}
