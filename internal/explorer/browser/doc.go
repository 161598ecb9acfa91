// Package browser tests the explorer's page in Chromium. It holds nothing but tests.
package browser
