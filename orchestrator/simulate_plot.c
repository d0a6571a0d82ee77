#include "simulate_plot.h"

#include <math.h>
#include <stdbool.h>

enum { WIDTH = 640, HEIGHT = 300, LEFT = 64, RIGHT = 16, TOP = 12, BOTTOM = 46 };

/* 1, 2 or 5 times a power of ten, so that about 'n' steps cover the range. */
static double nice_step(double range, double n)
{
    double raw = range > 0 ? range / n : 1, power = pow(10, floor(log10(raw))), part = raw / power;
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

static double x_of(const struct plot *p, double x)
{
    return LEFT + (x - p->x_min) / (p->x_max - p->x_min) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct plot *p, double y)
{
    return HEIGHT - BOTTOM - (y - p->y_min) / (p->y_max - p->y_min) * (HEIGHT - TOP - BOTTOM);
}

static void tick_text(double v, double step, char buf[32])
{
    int decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    double shown = fabs(v) < step / 1e6 ? 0 : v;
    if (step >= 10000 && fmod(step, 1000) == 0)
        snprintf(buf, 32, "%.0fk", shown / 1000);
    else
        snprintf(buf, 32, "%.*f", decimals > 6 ? 6 : decimals, shown);
}

static void draw_axes(const struct plot *p)
{
    char text[32];
    for (double x = p->x_min; x <= p->x_max + p->x_step / 2; x += p->x_step) {
        tick_text(x, p->x_step, text);
        fprintf(p->out, "<path class=grid d=\"M%.1f %dV%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=middle>%s</text>\n",
                x_of(p, x), TOP, HEIGHT - BOTTOM, x_of(p, x), HEIGHT - BOTTOM + 16, text);
    }
    for (double y = p->y_min; y <= p->y_max + p->y_step / 2; y += p->y_step) {
        tick_text(y, p->y_step, text);
        fprintf(p->out, "<path class=grid d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=end>%s</text>\n",
                LEFT, y_of(p, y), WIDTH - RIGHT, LEFT - 8, y_of(p, y) + 4, text);
    }
    fprintf(p->out, "<path class=axis d=\"M%d %dV%dH%d\"/>\n", LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT);
    fprintf(p->out, "<text class=label x=\"%d\" y=\"%d\" text-anchor=middle>%s</text>\n", (LEFT + WIDTH - RIGHT) / 2,
            HEIGHT - 8, p->x_label);
    fprintf(p->out, "<text class=label transform=\"translate(14 %d) rotate(-90)\" text-anchor=middle>%s</text>\n",
            (TOP + HEIGHT - BOTTOM) / 2, p->y_label);
}

void plot_begin(struct plot *p)
{
    p->x_step = nice_step(p->x_max - p->x_min, 8);
    p->y_step = nice_step(p->y_max - p->y_min, 5);
    p->x_min = floor(p->x_min / p->x_step + 1e-9) * p->x_step;
    p->y_min = floor(p->y_min / p->y_step + 1e-9) * p->y_step;
    p->x_max = fmax(ceil(p->x_max / p->x_step - 1e-9) * p->x_step, p->x_min + p->x_step);
    p->y_max = fmax(ceil(p->y_max / p->y_step - 1e-9) * p->y_step, p->y_min + p->y_step);
    fprintf(p->out, "<figure><figcaption>%s</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=img aria-label=\"%s\">\n",
            p->title, WIDTH, HEIGHT, p->title);
    draw_axes(p);
}

void plot_curve(struct plot *p, unsigned colour, const double *x, const double *y, size_t n)
{
    fprintf(p->out, "<path class=\"curve c%u\" d=\"", colour);
    for (size_t i = 0; i < n; i++)
        fprintf(p->out, "%s%.1f %.1f", i ? "L" : "M", x_of(p, x[i]), y_of(p, y[i]));
    fputs("\"/>\n", p->out);
}

void plot_point(struct plot *p, unsigned colour, double x, double y, const char *text)
{
    bool left = x_of(p, x) > WIDTH - 130;
    double low = HEIGHT - BOTTOM - 10, at = y_of(p, y) + 4; /* clear of the axis */
    fprintf(p->out,
            "<circle class=\"point c%u\" cx=\"%.1f\" cy=\"%.1f\" r=5 /><text x=\"%.1f\" y=\"%.1f\"%s>%s</text>\n",
            colour, x_of(p, x), y_of(p, y), x_of(p, x) + (left ? -9 : 9), at < low ? at : low,
            left ? " text-anchor=end" : "", text);
}

void plot_end(struct plot *p)
{
    fputs("</svg></figure>\n", p->out);
}
