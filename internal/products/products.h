void tfconvrnn_products_rows(const double *a, long rows, const double *b, long columns, long depth, double *c, long stride);
