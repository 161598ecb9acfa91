void tfconvrnn_products_rows(const double *a, long rows, long step, const double *b, long columns, long depth,
		double *c, long stride);
