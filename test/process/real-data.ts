/** The two real databases of the design library, where they are present: a music shop and a wholesaler. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";

const dataDir: string =
  process.env["PACELINE_TEST_DATA"] ??
  fileURLToPath(new URL("../../../shared/data/", import.meta.url));

/** Why tests that need the data are skipped; false when they run. */
export const missingData: string | false = existsSync(join(dataDir, "chinook.sqlite"))
  ? false
  : `no real databases at ${dataDir}`;

export const chinook: string = join(dataDir, "chinook.sqlite");

/** Builds the wholesaler's database file from its SQL text, in `dir`. */
export function buildNorthwind(dir: string): string {
  const path = join(dir, "northwind.sqlite");
  const db = new DatabaseSync(path);
  db.exec(readFileSync(join(dataDir, "northwind.sql"), "utf8"));
  db.close();
  return path;
}

/** Ten questions a music shop asks. Each has a full order, so that equal data gives equal answers. */
export const chinookQueries: readonly string[] = [
  "SELECT count(*), sum(Total), min(InvoiceDate), max(InvoiceDate) FROM Invoice",
  "SELECT BillingCountry, count(*), round(sum(Total), 2) FROM Invoice GROUP BY 1 ORDER BY 3 DESC, 1",
  `SELECT ar.Name, count(*) FROM Track t JOIN Album al USING (AlbumId) JOIN Artist ar USING (ArtistId)
     GROUP BY ar.ArtistId ORDER BY 2 DESC, 1 LIMIT 20`,
  `SELECT g.Name, round(sum(il.UnitPrice * il.Quantity), 2) FROM InvoiceLine il
     JOIN Track t USING (TrackId) JOIN Genre g USING (GenreId) GROUP BY 1 ORDER BY 2 DESC, 1`,
  `SELECT c.FirstName, c.LastName, round(sum(i.Total), 2) AS spent FROM Customer c
     JOIN Invoice i USING (CustomerId) GROUP BY c.CustomerId ORDER BY spent DESC, c.CustomerId LIMIT 10`,
  `SELECT e.LastName, count(DISTINCT c.CustomerId), round(sum(i.Total), 2) FROM Employee e
     JOIN Customer c ON c.SupportRepId = e.EmployeeId JOIN Invoice i USING (CustomerId)
     GROUP BY e.EmployeeId ORDER BY e.EmployeeId`,
  `SELECT strftime('%Y-%m', InvoiceDate) AS month, round(sum(Total), 2),
     round(sum(sum(Total)) OVER (ORDER BY strftime('%Y-%m', InvoiceDate)), 2)
     FROM Invoice GROUP BY 1 ORDER BY 1`,
  `SELECT p.Name, count(*), sum(t.Milliseconds) FROM Playlist p JOIN PlaylistTrack pt USING (PlaylistId)
     JOIN Track t USING (TrackId) GROUP BY p.PlaylistId ORDER BY p.PlaylistId`,
  `SELECT mt.Name, avg(t.Bytes), max(t.Milliseconds) FROM Track t JOIN MediaType mt USING (MediaTypeId)
     GROUP BY 1 ORDER BY 1`,
  `SELECT t.Name, t.Composer FROM Track t WHERE NOT EXISTS
     (SELECT 1 FROM InvoiceLine il WHERE il.TrackId = t.TrackId) ORDER BY t.TrackId LIMIT 50`,
];

/** Ten questions a wholesaler asks. */
export const northwindQueries: readonly string[] = [
  'SELECT count(*), sum(Quantity), round(sum(UnitPrice * Quantity), 2) FROM "Order Details"',
  `SELECT c.CategoryName, count(*), round(avg(p.UnitPrice), 4) FROM Products p
     JOIN Categories c USING (CategoryID) GROUP BY 1 ORDER BY 1`,
  `SELECT cu.CompanyName, round(sum(od.UnitPrice * od.Quantity * (1 - od.Discount)), 2) FROM Customers cu
     JOIN Orders o USING (CustomerID) JOIN "Order Details" od USING (OrderID)
     GROUP BY cu.CustomerID ORDER BY 2 DESC, 1 LIMIT 15`,
  `SELECT e.LastName, count(*) FROM Employees e JOIN Orders o USING (EmployeeID)
     GROUP BY e.EmployeeID ORDER BY 2 DESC, 1`,
  "SELECT ShipCountry, count(*), round(sum(Freight), 2) FROM Orders GROUP BY 1 ORDER BY 1",
  "SELECT s.CompanyName, count(*) FROM Suppliers s JOIN Products p USING (SupplierID) GROUP BY s.SupplierID ORDER BY 2 DESC, 1",
  `SELECT p.ProductName, sum(od.Quantity), rank() OVER (ORDER BY sum(od.Quantity) DESC)
     FROM "Order Details" od JOIN Products p USING (ProductID) GROUP BY p.ProductID ORDER BY 2 DESC, 1 LIMIT 20`,
  "SELECT CategoryID, length(Picture), substr(hex(Picture), 1, 64) FROM Categories ORDER BY 1",
  `SELECT strftime('%Y', OrderDate), count(*), round(sum(Freight), 2) FROM Orders GROUP BY 1 ORDER BY 1`,
  "SELECT e.LastName, m.LastName, length(e.Photo), hex(e.Title) FROM Employees e LEFT JOIN Employees m ON e.ReportsTo = m.EmployeeID ORDER BY e.EmployeeID",
];
