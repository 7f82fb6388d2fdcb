-- The time.
return string.format("%.17g", now)
