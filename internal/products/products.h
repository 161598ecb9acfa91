void tfconvrnn_products_rows(const double *a, long rows, long step, const double *b, long columns, long depth,
		double *c, long stride);
void tfconvrnn_products_pack(double *packed, const double *from, long rows, long stride, long width, long depth);
void tfconvrnn_products_pack_floats(double *packed, const float *from, long rows, long stride, long width,
		long depth);
