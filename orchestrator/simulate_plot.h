/* simulate_plot.h - a plot as inline SVG: axes with units, curves and points in the colour of their class. */
#ifndef MEMLANE_SIMULATE_PLOT_H
#define MEMLANE_SIMULATE_PLOT_H

#include <stddef.h>
#include <stdio.h>

struct plot {
    FILE *out;
    const char *title, *x_label, *y_label; /* plain ASCII without markup */
    double x_min, x_max, y_min, y_max;
    /* private */
    double x_step, y_step;
};

/* Widens the ranges to whole steps of the axes and draws them. */
void plot_begin(struct plot *p);
void plot_curve(struct plot *p, unsigned colour, const double *x, const double *y, size_t n);
/* With 'text' beside it. */
void plot_point(struct plot *p, unsigned colour, double x, double y, const char *text);
void plot_end(struct plot *p);

#endif
