// Package handler answers the HTTP requests of the service.
package handler

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"go-server/internal/config"
	"go-server/internal/version"
)

// Health answers with the state, the version and the environment that was loaded.
func Health(config config.Config) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{
			"status":      "ok",
			"version":     version.Number,
			"environment": config.Environment,
			"greeting":    config.Greeting,
			"log_level":   config.LogLevel.String(),
		})
	}
}
